/** One life of a process: its clock and timers, which are silent once it is over. */
import type { Clock, Timers } from "../../lib/ports.ts";
import type { VirtualClock } from "./clock.ts";

export class Life implements Clock, Timers {
  alive = true;
  /** What the machine's wall clock is wrong by. */
  wallErrorMicros = 0;
  readonly clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.clock = clock;
  }

  wallMicros(): number {
    return this.clock.wallMicros() + this.wallErrorMicros;
  }

  nowMicros(): number {
    return this.clock.nowMicros();
  }

  at(atMicros: number, callback: () => void): () => void {
    return this.clock.at(atMicros, () => {
      if (this.alive) callback();
    });
  }

  /** Never resolves when the life ends first. */
  sleep(micros: number): Promise<void> {
    return new Promise((resolve) => {
      this.at(this.nowMicros() + micros, resolve);
    });
  }
}
