/**
 * The gate before operations that take space. While less than the cleaner's own space is free they
 * wait, first come first served, and go on as it frees some. When it cannot, they fail with
 * `NO_SPACE`, all of them at once: what is refused now would be refused later.
 *
 * The gate knows nothing of segments. It asks how much space is left for applications, which may
 * take system calls, only after about so much as was left may have been taken.
 */
import { SmfsError } from "../../../../lib/errors.ts";
import type { Clock } from "../../../../lib/ports.ts";

export interface GateOptions {
  readonly clock: Pick<Clock, "nowMicros">;
  /** Free space beyond what the cleaner keeps for itself, bytes; negative when it is into that. */
  readonly roomBytes: () => number;
  /** Bytes ever appended to the log. */
  readonly appendedBytes: () => number;
  /** Largest operation, bytes: what each one that is let through may take. */
  readonly operationBytes: number;
  /** While refusing: whether a round of cleaning might gain something by now. */
  readonly isWorthARound: () => boolean;
  /** Somebody waits, or there is little room left: the cleaner should look. */
  readonly onShortage: () => void;
}

interface Waiter {
  readonly sinceMicros: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Gate {
  /** Operations that had to wait, and for how long together. */
  readonly statistics = { waits: 0, waitedMicros: 0, refusals: 0 };
  private readonly options: GateOptions;
  private readonly waiters: Waiter[] = [];
  private held = false;
  /** Why nothing is let through, when cleaning is known to be of no use. */
  private refusal: string | null = null;
  /** Appended bytes up to which the room that was found lasts. */
  private lastsUntil = 0;

  constructor(options: GateOptions) {
    this.options = options;
  }

  get waiting(): number {
    return this.waiters.length;
  }

  /**
   * undefined: go on now. Otherwise resolves when it is the operation's turn. Throws or rejects with
   * `SmfsError` NO_SPACE.
   */
  pass(): Promise<void> | undefined {
    const isFree = !this.held && this.waiters.length === 0;
    if (isFree && (this.options.appendedBytes() < this.lastsUntil || this.look())) return undefined;
    if (this.refusal !== null) {
      if (!this.options.isWorthARound()) throw this.refuse(this.refusal);
      this.refusal = null;
    }
    return this.wait();
  }

  private look(): boolean {
    const room = this.options.roomBytes();
    const { operationBytes } = this.options;
    // Half of it: operations under way may take some, too.
    this.lastsUntil = this.options.appendedBytes() + Math.max(0, room / 2 - operationBytes);
    if (room < 4 * operationBytes) this.options.onShortage();
    if (room > 0) this.refusal = null;
    return room > 0;
  }

  private wait(): Promise<void> {
    this.statistics.waits++;
    const sinceMicros = this.options.clock.nowMicros();
    const turn = new Promise<void>((resolve, reject) => {
      this.waiters.push({ sinceMicros, resolve, reject });
    });
    if (!this.held) this.options.onShortage();
    return turn;
  }

  /** There is less room than there was. */
  narrow(): void {
    this.lastsUntil = 0;
  }

  /** Space may have become free: lets through as many as there is room for. */
  pump(): void {
    if (this.held) return;
    this.lastsUntil = 0;
    let room = this.options.roomBytes();
    if (room > 0) this.refusal = null;
    while (room > 0 && this.waiters.length > 0) {
      this.release();
      room -= this.options.operationBytes;
    }
  }

  private release(): void {
    const waiter = this.waiters.shift();
    if (waiter === undefined) return;
    this.statistics.waitedMicros += this.options.clock.nowMicros() - waiter.sinceMicros;
    waiter.resolve();
  }

  /** Nothing is let through while `work` is under way: what it writes is to stand together. */
  async hold<T>(work: () => Promise<T>): Promise<T> {
    this.held = true;
    try {
      return await work();
    } finally {
      this.held = false;
      this.pump();
    }
  }

  /** Cleaning gains nothing: whoever waits, and whoever comes while there is no room, is refused. */
  close(reason: string): void {
    this.refusal = reason;
    for (const waiter of this.waiters.splice(0)) waiter.reject(this.refuse(reason));
  }

  private refuse(reason: string): SmfsError {
    this.statistics.refusals++;
    return new SmfsError("NO_SPACE", reason);
  }
}
