/**
 * The streams that this side receives: one reassembly each, made when the stream's first frame comes.
 * At most MAX_STREAMS windows of memory, whatever the peer sends.
 */
import { SmfsError } from "../../../lib/errors.ts";
import { viewOf } from "../../../lib/codec.ts";
import type { TransportConfig } from "./config.ts";
import { MAX_STREAMS, StreamCredit, StreamFrame } from "./packets.ts";
import { Reassembly } from "./reassembly.ts";

export class ReceiveStreams {
  private readonly config: TransportConfig;
  private readonly deliver: (stream: number, bytes: Uint8Array) => void;
  private readonly byNumber: (Reassembly | undefined)[] = [];
  /** Streams in use. */
  count = 0;

  constructor(config: TransportConfig, deliver: (stream: number, bytes: Uint8Array) => void) {
    this.config = config;
    this.deliver = deliver;
    this.open(0);
  }

  /** False when the bytes cannot be kept. Throws `SmfsError` DAMAGED for a stream that is none. */
  insert(frame: Uint8Array): boolean {
    const { stream, offset } = StreamFrame.decode(viewOf(frame), 0);
    if (stream >= MAX_STREAMS) throw new SmfsError("DAMAGED", `there is no stream ${stream}`);
    const reassembly = this.byNumber[stream] ?? this.open(stream);
    return reassembly.insert(offset, frame.subarray(StreamFrame.size));
  }

  private open(stream: number): Reassembly {
    const { receiveWindowBytes, streamBufferBytes } = this.config;
    const windowBytes = stream === 0 ? receiveWindowBytes : streamBufferBytes;
    const reassembly = new Reassembly(windowBytes, (bytes) => this.deliver(stream, bytes));
    this.byNumber[stream] = reassembly;
    this.count++;
    return reassembly;
  }

  /** Writes the credits at `offset`, ascending; where they end. */
  writeCredits(view: DataView, offset: number): number {
    let at = offset;
    for (let stream = 0; stream < this.byNumber.length; stream++) {
      const reassembly = this.byNumber[stream];
      if (reassembly === undefined) continue;
      const { deliveredOffset, limitOffset } = reassembly;
      StreamCredit.encode(view, at, { stream, deliveredOffset, limitOffset });
      at += StreamCredit.size;
    }
    return at;
  }
}
