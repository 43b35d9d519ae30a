/** What a record from a peer must be before it becomes part of this log, in relation to its head. */
import { equalBytes } from "../../../lib/bytes.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { Address, Position } from "./api.ts";
import { KIND, type RecordHeader } from "./format.ts";
import { describeAddress } from "./record.ts";

/** Throws `SmfsError` OTHER_HISTORY or FENCED. */
export function checkContinues(
  header: RecordHeader,
  logId: Uint8Array,
  head: Position,
  expected: Address,
): void {
  if (!equalBytes(header.logId, logId)) throw other("it belongs to another log");
  if (header.epoch < head.epoch) {
    const message = `record ${header.sequence} is of epoch ${header.epoch}; this log is at ${head.epoch}`;
    throw new SmfsError("FENCED", message);
  }
  if (header.sequence !== head.sequence + 1) {
    throw other(`record ${header.sequence} came where ${head.sequence + 1} belongs`);
  }
  if (header.previousChecksum !== head.checksum) {
    throw other(`record ${header.sequence} continues another record ${head.sequence}`);
  }
  if (header.epoch !== head.epoch && header.kind !== KIND.epoch) {
    throw other(`record ${header.sequence} raises the epoch without saying so`);
  }
  if (header.segment !== expected.segment || header.offset !== expected.offset) {
    const wants = describeAddress(header);
    throw other(
      `record ${header.sequence} wants ${wants}, the log ends at ${describeAddress(expected)}`,
    );
  }
}

function other(what: string): SmfsError {
  return new SmfsError("OTHER_HISTORY", what);
}
