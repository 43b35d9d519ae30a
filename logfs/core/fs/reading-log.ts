/** Bytes of the log as a value: at once when they are in memory, otherwise as a promise. */
import { SmfsError } from "../../../lib/errors.ts";
import type { Address, LogReader } from "../log/api.ts";

type Outcome = { error: Error | null; bytes: Uint8Array };

/** Exactly `length` bytes; `into` as `LogReader.read` says. Throws or rejects with the log's error, DAMAGED when the log ends before. */
export function readLog(
  log: Pick<LogReader, "read">,
  address: Address,
  length: number,
  into?: Uint8Array,
): Uint8Array | Promise<Uint8Array> {
  let outcome: Outcome | null = null;
  let settle: ((outcome: Outcome) => void) | null = null;
  const done = (error: Error | null, bytes: Uint8Array): void => {
    outcome = { error, bytes };
    settle?.(outcome);
  };
  log.read(address, length, done, into);
  if (outcome !== null) return whole(outcome, address, length);
  return new Promise<Outcome>((resolve) => {
    settle = resolve;
  }).then((later) => whole(later, address, length));
}

function whole({ error, bytes }: Outcome, address: Address, length: number): Uint8Array {
  if (error !== null) throw error;
  if (bytes.length === length) return bytes;
  const where = `segment ${address.segment} offset ${address.offset}`;
  throw new SmfsError("DAMAGED", `${where} gave ${bytes.length} of ${length} bytes`);
}
