/**
 * What stands behind the place where a log's records end: zeros, the remains of a tear, or signs
 * that the record which is missing was durable once (ARCHITECTURE, "Torn tail or damage").
 */
import { equalBytes } from "../../../lib/bytes.ts";
import { viewOf } from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { Address, SegmentStore } from "./api.ts";
import { RECORD_ALIGNMENT, RECORD_MAGIC, type RecordHeader } from "./format.ts";
import { readRecordHeader, RECORD_HEADER_BYTES } from "./record.ts";
import { WINDOW_BYTES } from "./scan.ts";

export interface Aftermath {
  /** Something other than zeros stands there. */
  readonly written: boolean;
  /** A header that verifies and says that `sequence` was durable when it was written. */
  readonly vouchedBy: (Address & { readonly sequence: number }) | null;
}

/**
 * What stands at `from` and behind it in one segment: is any of it a sign that record `sequence`
 * was durable once (ARCHITECTURE, "Torn tail or damage")?
 */
export function inspectAftermath(
  store: SegmentStore,
  from: Address,
  sequence: number,
  logId: Uint8Array,
): Aftermath {
  const { segment } = from;
  let written = false;
  for (let start = from.offset; ; ) {
    const bytes = store.readSync(segment, start, WINDOW_BYTES);
    const isLast = bytes.length < WINDOW_BYTES;
    // A header that the window cuts off is found whole at the start of the next one.
    const end = isLast ? bytes.length : bytes.length - RECORD_HEADER_BYTES;
    const found = inspectWindow(bytes, end, { segment, offset: start }, { sequence, logId });
    written ||= found.written;
    if (isLast || found.vouchedBy !== null) return { written, vouchedBy: found.vouchedBy };
    start += end;
  }
}

function inspectWindow(
  bytes: Uint8Array,
  end: number,
  start: Address,
  sought: { readonly sequence: number; readonly logId: Uint8Array },
): Aftermath {
  const view = viewOf(bytes);
  let written = false;
  for (let at = 0; at < end; at += RECORD_ALIGNMENT) {
    if (isZero(view, at)) continue;
    written = true;
    const address = { segment: start.segment, offset: start.offset + at };
    const header = headerIn(bytes, view, at, address);
    if (header === null || !equalBytes(header.logId, sought.logId)) continue;
    if (header.durableSequence < sought.sequence) continue;
    return { written, vouchedBy: { ...address, sequence: header.sequence } };
  }
  return { written, vouchedBy: null };
}

function isZero(view: DataView, at: number): boolean {
  if (at + RECORD_ALIGNMENT <= view.byteLength) {
    return view.getUint32(at) === 0 && view.getUint32(at + 4) === 0;
  }
  for (let i = at; i < view.byteLength; i++) if (view.getUint8(i) !== 0) return false;
  return true;
}

function headerIn(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  { segment, offset }: Address,
): RecordHeader | null {
  if (bytes.length - at < RECORD_HEADER_BYTES) return null;
  if (view.getUint32(at, true) !== RECORD_MAGIC) return null;
  try {
    const header = readRecordHeader(bytes, at);
    return header.segment === segment && header.offset === offset ? header : null;
  } catch (error) {
    if (error instanceof SmfsError) return null;
    throw error;
  }
}
