/**
 * The messages of the disaster: 4 kB each (SMFS §5.3), numbered, filled from their number and closed
 * by a checksum, so that a reader knows a whole and unaltered one.
 */
import { crc32c } from "../../lib/crc32c.ts";
import { Prng } from "../../lib/prng.ts";

const MESSAGE_BYTES = 4096;
const CHECKSUM_AT = MESSAGE_BYTES - 4;

function encodeMessage(out: Buffer, sequence: number): void {
  const prng = new Prng(sequence);
  out.writeUInt32LE(sequence, 0);
  for (let at = 4; at < CHECKSUM_AT; at += 4) out.writeUInt32LE(prng.u32(), at);
  out.writeUInt32LE(crc32c(out.subarray(0, CHECKSUM_AT)), CHECKSUM_AT);
}

/**
 * Appends one message after the other until `append` (which returns when the message is
 * acknowledged) throws; tells of each by a line: its number, and microseconds that it took.
 */
export async function appendMessages(
  append: (message: Buffer) => Promise<void> | void,
  tell: (line: string) => void,
): Promise<never> {
  const message = Buffer.alloc(MESSAGE_BYTES);
  for (let sequence = 0; ; sequence++) {
    encodeMessage(message, sequence);
    const started = process.hrtime.bigint();
    await append(message);
    tell(`${sequence} ${Number((process.hrtime.bigint() - started) / 1000n)}`);
  }
}

/** How many whole, right messages the file holds, from the first on, in order. */
export function countMessages(file: Buffer): number {
  let sequence = 0;
  for (let at = 0; at + MESSAGE_BYTES <= file.length; at += MESSAGE_BYTES) {
    const whole = file.subarray(at, at + MESSAGE_BYTES);
    const right =
      whole.readUInt32LE(0) === sequence &&
      whole.readUInt32LE(CHECKSUM_AT) === crc32c(whole.subarray(0, CHECKSUM_AT));
    if (!right) break;
    sequence++;
  }
  return sequence;
}
