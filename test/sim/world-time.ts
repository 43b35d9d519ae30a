/** Virtual time of the two-site world: everything that is ready runs before the clock moves on. */
import { VirtualClock } from "./clock.ts";

/** Of virtual time and turns: more than anything may take. */
const MAX_STEPS = 2_000_000;
const TURNS_A_STEP = 6;

export class WorldTime {
  readonly clock = new VirtualClock();
  private readonly beforeStep: () => void;

  /** `beforeStep` runs before each step of the clock; what it throws ends the wait. */
  constructor(beforeStep: () => void) {
    this.beforeStep = beforeStep;
  }

  get now(): number {
    return this.clock.nowMicros();
  }

  /** Lets virtual time pass; everything that is ready to run runs. */
  async pass(micros: number): Promise<void> {
    const until = this.now + micros;
    let over = false;
    this.clock.at(until, () => {
      over = true;
    });
    while (!over) await this.step();
  }

  async wait<T>(answer: Promise<T>): Promise<T> {
    let over = false;
    const end = (): void => {
      over = true;
    };
    answer.then(end, end);
    for (let steps = 0; !over; steps++) {
      if (steps > MAX_STEPS) throw new Error("something waits for ever");
      // Everything that does not need time comes first: the clock must not run ahead of a long chain.
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      if (!over) await this.step();
    }
    return answer;
  }

  private async step(): Promise<void> {
    for (let turn = 0; turn < TURNS_A_STEP; turn++) await Promise.resolve();
    this.beforeStep();
    this.clock.step();
  }
}
