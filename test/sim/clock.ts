/** Virtual time: callbacks in order of their time, ties in the order they were asked for. */
import { Heap } from "../../lib/heap.ts";
import type { Clock, Timers } from "../../lib/ports.ts";

export class VirtualClock implements Clock, Timers {
  private now = 0;
  private readonly due = new Heap<{ callback: (() => void) | null }>();
  private readonly startedAtMicros: number;

  constructor(startedAtMicros = 1_600_000_000_000_000) {
    this.startedAtMicros = startedAtMicros;
  }

  wallMicros(): number {
    return this.startedAtMicros + this.now;
  }

  nowMicros(): number {
    return this.now;
  }

  at(atMicros: number, callback: () => void): () => void {
    const entry: { callback: (() => void) | null } = { callback };
    this.due.push(Math.max(atMicros, this.now), entry);
    return () => {
      entry.callback = null;
    };
  }

  readonly schedule = (delayMicros: number, callback: () => void): void => {
    this.at(this.now + delayMicros, callback);
  };

  /** Runs the next callback; false when there is none. */
  step(): boolean {
    const at = this.due.minKey;
    const entry = this.due.pop();
    if (entry === undefined) return false;
    this.now = at;
    entry.callback?.();
    return true;
  }

  /** Runs what falls due in the next `micros`. */
  advance(micros: number): void {
    const until = this.now + micros;
    while (this.due.minKey <= until) this.step();
    this.now = until;
  }

  /** Runs until nothing is due any more. Fails after `maxSteps`: something never ends. */
  drain(maxSteps = 1_000_000): void {
    for (let steps = 0; this.step(); steps++) {
      if (steps > maxSteps) throw new Error(`still busy after ${maxSteps} steps`);
    }
  }
}
