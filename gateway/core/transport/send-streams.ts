/**
 * The streams that this side sends: bytes until they are delivered, what the peer's window allows,
 * and whose turn it is. A stream's buffer is taken at its first use.
 */
import { assert } from "../../../lib/assert.ts";
import { SmfsError } from "../../../lib/errors.ts";
import { ByteRing } from "./byte-ring.ts";
import { INITIAL_WINDOW_BYTES, type TransportConfig } from "./config.ts";
import { MAX_STREAMS, type StreamCreditFields } from "./packets.ts";
import type { OrderedStream } from "./streams.ts";

/** Invariant: delivered ≤ sent ≤ limit, sent ≤ written ≤ delivered + the buffer. */
export class SendStream implements OrderedStream {
  readonly number: number;
  readonly ring: ByteRing;
  writtenOffset = 0;
  sentOffset = 0;
  acknowledgedOffset = 0;
  /** The user has not been told of the last delivery yet. */
  hasProgress = false;
  private limitOffset = INITIAL_WINDOW_BYTES;

  constructor(number: number, bufferBytes: number) {
    this.number = number;
    this.ring = new ByteRing(bufferBytes);
  }

  get writableBytes(): number {
    return this.ring.capacityBytes - (this.writtenOffset - this.acknowledgedOffset);
  }

  write(bytes: Uint8Array): void {
    this.ring.write(this.writtenOffset, bytes);
    this.writtenOffset += bytes.length;
  }

  /**
   * Bytes of the next new packet, `most` if there are as many. The window's last crumbs wait for
   * the window to open (RFC 9293 §3.8.6.2.1, silly window).
   */
  newBytes(most: number): number {
    const wanted = Math.min(this.writtenOffset - this.sentOffset, most);
    return this.sentOffset + wanted <= this.limitOffset ? wanted : 0;
  }

  /** True when more was delivered than was known. */
  handleCredit({ deliveredOffset, limitOffset }: StreamCreditFields): boolean {
    this.limitOffset = Math.max(this.limitOffset, limitOffset);
    if (deliveredOffset <= this.acknowledgedOffset) return false;
    this.acknowledgedOffset = deliveredOffset;
    this.hasProgress = true;
    return true;
  }
}

export class SendStreams {
  /** Stream 0. */
  readonly link: SendStream;
  private readonly config: TransportConfig;
  private readonly byNumber: (SendStream | undefined)[] = [];
  /** Those in use, in the order of their turns. */
  private readonly opened: SendStream[];
  private turn = 0;

  constructor(config: TransportConfig) {
    this.config = config;
    this.link = new SendStream(0, config.sendBufferBytes);
    this.byNumber[0] = this.link;
    this.opened = [this.link];
  }

  /** The stream of a number below MAX_STREAMS, opened when it is new. */
  open(number: number): SendStream {
    const known = this.byNumber[number];
    if (known !== undefined) return known;
    assert(Number.isInteger(number) && number >= 0 && number < MAX_STREAMS, "no such stream");
    const stream = new SendStream(number, this.config.streamBufferBytes);
    this.byNumber[number] = stream;
    this.opened.push(stream);
    return stream;
  }

  /** Of a segment that was sent. */
  of(number: number): SendStream {
    const stream = this.byNumber[number];
    assert(stream !== undefined, "the segment is of a stream in use");
    return stream;
  }

  /** The next stream that has something to send and room at the peer, or null. */
  next(mostBytes: number): SendStream | null {
    const { opened } = this;
    for (let i = 0; i < opened.length; i++) {
      const stream = opened[(this.turn + i) % opened.length] as SendStream;
      if (stream.newBytes(mostBytes) > 0) return stream;
    }
    return null;
  }

  /** `stream` had its turn. */
  pass(stream: SendStream): void {
    this.turn = (this.opened.indexOf(stream) + 1) % this.opened.length;
  }

  /** Throws `SmfsError` DAMAGED for credits of bytes that were not sent. */
  check(credits: readonly StreamCreditFields[]): void {
    for (const { stream, deliveredOffset } of credits) {
      // The peer may have sent on a stream that we have not.
      const sentOffset = this.byNumber[stream]?.sentOffset ?? 0;
      if (stream < MAX_STREAMS && deliveredOffset <= sentOffset) continue;
      throw new SmfsError("DAMAGED", "an ack of stream bytes that were not sent");
    }
  }

  handleCredit(credit: StreamCreditFields): boolean {
    return this.byNumber[credit.stream]?.handleCredit(credit) ?? false;
  }

  /** Calls `tell` for every stream but the link that was delivered more since the last call. */
  tellProgress(tell: (stream: number) => void): void {
    for (const stream of this.opened) {
      if (!stream.hasProgress || stream.number === 0) continue;
      stream.hasProgress = false;
      tell(stream.number);
    }
  }
}
