/** What the cleaner and those who wait for it wait for. */
import type { Clock, Timers } from "../../../../lib/ports.ts";

interface RoundWaiter {
  readonly refusal: Error;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Waits {
  private readonly time: Clock & Timers;
  private condition: (() => boolean) | null = null;
  private finish: (() => void) | null = null;
  private readonly roundWaiters: RoundWaiter[] = [];

  constructor(time: Clock & Timers) {
    this.time = time;
  }

  /** Operations that wait for the end of a round. */
  get rounds(): number {
    return this.roundWaiters.length;
  }

  /** Resolves when `isOver`, asked at every `look` and every `againMicros`. One at a time. */
  until(isOver: () => boolean, againMicros: number): Promise<void> {
    return this.wait(isOver, againMicros, "goesOn");
  }

  /** As `until`, but no longer than `micros`. */
  pause(isOver: () => boolean, micros: number): Promise<void> {
    return this.wait(isOver, micros, "ends");
  }

  private wait(isOver: () => boolean, micros: number, after: "goesOn" | "ends"): Promise<void> {
    if (isOver()) return Promise.resolve();
    return new Promise((resolve) => {
      let cancel = (): void => {};
      const finish = (): void => {
        cancel();
        this.condition = null;
        this.finish = null;
        resolve();
      };
      const arm = (): void => {
        cancel = this.time.at(this.time.nowMicros() + micros, () => {
          if (after === "ends" || isOver()) finish();
          else arm();
        });
      };
      this.condition = isOver;
      this.finish = finish;
      arm();
    });
  }

  /** Something happened. */
  look(): void {
    if (this.condition?.() === true) this.finish?.();
  }

  forRound(refusal: Error): Promise<void> {
    return new Promise((resolve, reject) => this.roundWaiters.push({ refusal, resolve, reject }));
  }

  endRound(gained: boolean): void {
    for (const { refusal, resolve, reject } of this.roundWaiters.splice(0)) {
      if (gained) resolve();
      else reject(refusal);
    }
  }

  endAll(): void {
    this.finish?.();
    this.endRound(false);
  }
}
