/**
 * What a primary and its mirror say to each other over a `Link`, version 1.
 *
 * The stream is a sequence of frames: a frame header, then `length` bytes. Records travel exactly as
 * they stand in the log. The link authenticates; these decoders still trust nothing they read.
 *
 *   primary                      mirror
 *   hello            ──────────▶
 *                    ◀──────────  position (or refuse)
 *   [probe ⇄ position]*           only when the histories differ: where did they part?
 *   [rewind          ──────────▶  position]
 *   records …        ──────────▶
 *                    ◀──────────  ack …
 *
 * Once records flow, either side may ask for bytes of the other's log: read, answered by copy.
 */
import { bytes, type Infer, reserved, struct, u8, u16, u32, u64, viewOf } from "../../lib/codec.ts";
import { SmfsError } from "../../lib/errors.ts";

export const PROTOCOL_VERSION = 1;
/** Bytes of one frame's payload: a record of the largest permitted size and some room. */
export const MAX_FRAME_BYTES = 8 * 2 ** 20;
const MAX_REASON_BYTES = 1024;

export const FRAME = {
  hello: 1,
  position: 2,
  probe: 3,
  rewind: 4,
  records: 5,
  ack: 6,
  refuse: 7,
  read: 8,
  copy: 9,
} as const;

export const FrameHeader = struct("FrameHeader", {
  type: u8("what follows (FRAME)"),
  flags: reserved(3),
  length: u32("bytes of the payload"),
});

export const Hello = struct("Hello", {
  version: u16("protocol version, 1"),
  flags: reserved(6),
  logId: bytes(16, "the log that is offered"),
  writerId: bytes(16, "the store that writes it"),
  epoch: u64("epoch of the writer"),
  headSequence: u64("newest record of the writer"),
  segmentBytes: u32("segment size of the log"),
  maxRecordBytes: u32("largest record of the log"),
});
export type Hello = Infer<typeof Hello>;

export const PositionMessage = struct("Position", {
  logId: bytes(16, "the log the mirror follows; zeros when it has none yet"),
  sequence: u64("the record spoken of: the newest one, or the one probed for; 0: before the first"),
  epoch: u64("its epoch"),
  checksum: u32("its headerChecksum"),
  found: u8("1: the mirror has this record; 2: it had it, and dropped it (FOUND)"),
  flags: reserved(3),
  windowBytes: u32("record bytes the mirror takes before they are written there"),
  padding: reserved(4),
});
export type PositionMessage = Infer<typeof PositionMessage>;

export const FOUND = {
  no: 0,
  yes: 1,
  /** Dropped since: the segments of a mirror go when what comes after them is durable at both sites. */
  dropped: 2,
} as const;

export const Probe = struct("Probe", { sequence: u64("which record's position is asked for") });

export const Rewind = struct("Rewind", {
  sequence: u64("the last common record; what the mirror has behind it is to be set aside"),
  checksum: u32("its headerChecksum"),
  padding: reserved(4),
});
export type Rewind = Infer<typeof Rewind>;

export const Ack = struct("Ack", {
  writtenSequence: u64("records up to here are in the mirror's kernel"),
  durableSequence: u64("records up to here are on the mirror's stable storage"),
});
export type Ack = Infer<typeof Ack>;

export const ReadRange = struct("ReadRange", {
  id: u32("of this question; the answer repeats it"),
  segment: u32("segment of the log"),
  offset: u32("byte offset in the segment"),
  length: u32("bytes asked for, at most 64 KiB"),
});

export const Copy = struct("Copy", {
  id: u32("of the question"),
  length: u32("bytes that follow: all that was asked for, or 0 when the mirror cannot say"),
});

/** Why a mirror does not follow; carried as a number, explained by the text behind it. */
export const REFUSAL = {
  version: 1,
  otherLog: 2,
  fenced: 3,
  splitBrain: 4,
  damaged: 5,
  noSpace: 6,
  failed: 7,
} as const;

export const Refuse = struct("Refuse", {
  code: u16("REFUSAL"),
  reasonBytes: u16("bytes of the sentence behind this (printable ASCII)"),
  padding: reserved(4),
});

interface Layout<T> {
  readonly size: number;
  encode(view: DataView, offset: number, value: T): void;
}

export function frame<T>(type: number, layout: Layout<T>, value: T): Uint8Array {
  const whole = new Uint8Array(FrameHeader.size + layout.size);
  const view = viewOf(whole);
  FrameHeader.encode(view, 0, { type, length: layout.size });
  layout.encode(view, FrameHeader.size, value);
  return whole;
}

export function recordsFrameHeader(length: number): Uint8Array {
  const header = new Uint8Array(FrameHeader.size);
  FrameHeader.encode(viewOf(header), 0, { type: FRAME.records, length });
  return header;
}

export function copyFrame(id: number, content: Uint8Array): Uint8Array {
  const length = Copy.size + content.length;
  const whole = new Uint8Array(FrameHeader.size + length);
  const view = viewOf(whole);
  FrameHeader.encode(view, 0, { type: FRAME.copy, length });
  Copy.encode(view, FrameHeader.size, { id, length: content.length });
  whole.set(content, FrameHeader.size + Copy.size);
  return whole;
}

/** Throws `SmfsError` DAMAGED or SHORT. The bytes are a view. */
export function decodeCopy(payload: Uint8Array): { id: number; bytes: Uint8Array } {
  const { id, length } = Copy.decode(viewOf(payload), 0);
  if (length !== payload.length - Copy.size) {
    throw new SmfsError("DAMAGED", "Copy: the length of the bytes is not that of the frame");
  }
  return { id, bytes: payload.subarray(Copy.size) };
}

export function refuseFrame(code: number, reason: string): Uint8Array {
  const text = Uint8Array.from(reason.slice(0, MAX_REASON_BYTES), (c) =>
    printable(c.charCodeAt(0)),
  );
  const length = Refuse.size + text.length;
  const whole = new Uint8Array(FrameHeader.size + length);
  const view = viewOf(whole);
  FrameHeader.encode(view, 0, { type: FRAME.refuse, length });
  Refuse.encode(view, FrameHeader.size, { code, reasonBytes: text.length });
  whole.set(text, FrameHeader.size + Refuse.size);
  return whole;
}

export function decodeRefuse(payload: Uint8Array): { code: number; reason: string } {
  const { code, reasonBytes } = Refuse.decode(viewOf(payload), 0);
  if (reasonBytes !== payload.length - Refuse.size) {
    throw new SmfsError("DAMAGED", "Refuse: the length of the reason is not that of the frame");
  }
  const text = payload.subarray(Refuse.size);
  return { code, reason: String.fromCharCode(...text.map(printable)) };
}

function printable(code: number): number {
  return code >= 0x20 && code < 0x7f ? code : 0x3f;
}

/**
 * Cuts a byte stream into frames. One buffer, grown to the largest frame seen and never past
 * `MAX_FRAME_BYTES`; a payload handed out is valid during the call.
 */
export class FrameReader {
  private buffer = new Uint8Array(64 * 2 ** 10);
  private view = viewOf(this.buffer);
  private used = 0;

  /** Throws `SmfsError` DAMAGED for a frame longer than the limit or with reserved bits set. */
  push(input: Uint8Array, onFrame: (type: number, payload: Uint8Array) => void): void {
    let rest = input;
    while (rest.length > 0) {
      const taken = Math.min(this.missing(), rest.length);
      this.buffer.set(rest.subarray(0, taken), this.used);
      this.used += taken;
      rest = rest.subarray(taken);
      if (this.used < FrameHeader.size || this.missing() > 0) continue;
      const { type } = FrameHeader.decode(this.view, 0);
      const payload = this.buffer.subarray(FrameHeader.size, this.used);
      this.used = 0;
      onFrame(type, payload);
    }
  }

  reset(): void {
    this.used = 0;
  }

  /** Bytes still missing of the header, or of the frame once its header is there. */
  private missing(): number {
    if (this.used < FrameHeader.size) return FrameHeader.size - this.used;
    const { length } = FrameHeader.decode(this.view, 0);
    if (length > MAX_FRAME_BYTES) {
      throw new SmfsError(
        "DAMAGED",
        `a frame of ${length} bytes is longer than ${MAX_FRAME_BYTES}`,
      );
    }
    this.reserve(FrameHeader.size + length);
    return FrameHeader.size + length - this.used;
  }

  private reserve(bytesNeeded: number): void {
    if (bytesNeeded <= this.buffer.length) return;
    const grown = new Uint8Array(Math.min(bytesNeeded * 2, FrameHeader.size + MAX_FRAME_BYTES));
    grown.set(this.buffer.subarray(0, this.used));
    this.buffer = grown;
    this.view = viewOf(grown);
  }
}
