/**
 * Streams beside the link: ordered and reliable like it, each with its own flow control, so that one
 * whose reader is slow holds up none of the others. The link is stream 0 and the only one that has a
 * `safeOffset`; what the others carry counts when it was acknowledged.
 *
 * A stream exists when either side uses its number, below `MAX_STREAMS`, and begins at offset 0 with
 * every session.
 */
export interface OrderedStream {
  /** How many bytes `write` takes now; 0 while the association is down. */
  readonly writableBytes: number;
  /** Copies; `bytes` is at most `writableBytes` long. */
  write(bytes: Uint8Array): void;
  readonly writtenOffset: number;
  /** Everything below is in the peer process's hands. */
  readonly acknowledgedOffset: number;
}

/** Of streams 1 and up. */
export interface StreamHandler {
  /** Bytes in order. Valid only during the call. */
  onStreamData(stream: number, bytes: Uint8Array): void;
  /** `acknowledgedOffset` of the stream grew, and so did `writableBytes`. */
  onStreamProgress(stream: number): void;
}
