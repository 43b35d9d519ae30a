/**
 * A pair of `Link`s in virtual time, for what is above the gateway: bytes arrive in order after a
 * delay, `safeOffset` follows what was written after another, acknowledgements come back. It can be
 * broken and joined again; what was in flight is then lost, as with a real association.
 */
import type { Link, LinkHandler, LinkStatistics } from "../../gateway/core/transport/link.ts";
import type { VirtualClock } from "./clock.ts";

const BUFFER_BYTES = 256 * 1024;
const NO_STATISTICS = new Proxy({} as LinkStatistics, { get: () => 0 });

export interface PipeOptions {
  readonly oneWayMicros: number;
  /** After this, what was written counts as safe on the wire. */
  readonly safeMicros: number;
}

class End implements Link {
  up = false;
  writtenOffset = 0;
  safeOffset = 0;
  acknowledgedOffset = 0;
  hurries = 0;
  readonly statistics = NO_STATISTICS;
  handler: LinkHandler | null = null;
  private readonly pipe: Pipe;

  constructor(pipe: Pipe) {
    this.pipe = pipe;
  }

  get writableBytes(): number {
    return this.up ? BUFFER_BYTES - (this.writtenOffset - this.acknowledgedOffset) : 0;
  }

  write(bytes: Uint8Array): void {
    if (bytes.length > this.writableBytes) throw new Error("more than is writable");
    this.writtenOffset += bytes.length;
    this.pipe.carry(this, bytes.slice(), this.writtenOffset);
  }

  hurry(): void {
    this.hurries++;
  }

  riskBelow(): number {
    return 0;
  }

  close(): void {
    this.pipe.break("closed");
  }

  reset(up: boolean): void {
    this.up = up;
    this.writtenOffset = 0;
    this.safeOffset = 0;
    this.acknowledgedOffset = 0;
  }
}

export class Pipe {
  readonly a: End = new End(this);
  readonly b: End = new End(this);
  private readonly clock: VirtualClock;
  private readonly options: PipeOptions;
  private generation = 0;

  constructor(clock: VirtualClock, options: PipeOptions) {
    this.clock = clock;
    this.options = options;
  }

  join(a: LinkHandler, b: LinkHandler): void {
    this.generation++;
    this.a.handler = a;
    this.b.handler = b;
    this.a.reset(true);
    this.b.reset(true);
    b.onUp();
    a.onUp();
  }

  break(reason: string): void {
    if (!this.a.up) return;
    this.generation++;
    for (const end of [this.a, this.b]) end.reset(false);
    this.a.handler?.onDown("lost", reason);
    this.b.handler?.onDown("lost", reason);
  }

  carry(from: End, bytes: Uint8Array, endOffset: number): void {
    const { generation } = this;
    const other = from === this.a ? this.b : this.a;
    const later = (micros: number, act: () => void): void => {
      this.clock.schedule(micros, () => {
        if (generation === this.generation) act();
      });
    };
    later(this.options.safeMicros, () => {
      from.safeOffset = Math.max(from.safeOffset, endOffset);
      from.handler?.onProgress();
    });
    later(this.options.oneWayMicros, () => other.handler?.onData(bytes));
    later(2 * this.options.oneWayMicros, () => {
      from.acknowledgedOffset = endOffset;
      from.safeOffset = Math.max(from.safeOffset, endOffset);
      from.handler?.onProgress();
      from.handler?.onWritable();
    });
  }
}
