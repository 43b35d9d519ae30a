/**
 * A volume whose operations pass the cleaner's gate: those that take space wait there; those that
 * free some, and looking, never do. What the log refuses for space all the same is tried again when
 * a round of cleaning has gained something.
 */
import type { SmfsError } from "../../../../lib/errors.ts";
import type { ItemView, Transaction, Volume, VolumeStatistics } from "../api.ts";
import type { MaybePromise } from "../../vfs.ts";
import { orElse } from "../maybe.ts";
import type { Cleaner } from "./cleaner.ts";

type Changed<T> = { value: T; sequence: number };

/** Rounds that one operation waits for, when the log refuses it: others may be faster each time. */
const RETRIES = 8;

export class GatedVolume implements Volume {
  readonly readOnly = false;
  private readonly volume: Volume;
  private readonly cleaner: Cleaner;

  constructor(volume: Volume, cleaner: Cleaner) {
    this.volume = volume;
    this.cleaner = cleaner;
  }

  get headSequence(): number {
    return this.volume.headSequence;
  }

  get statistics(): VolumeStatistics {
    return this.volume.statistics;
  }

  nowMicros(): number {
    return this.volume.nowMicros();
  }

  /** `freeBytes`: what can be written, when what is dead has been cleaned. */
  space(): { totalBytes: number; freeBytes: number } {
    const { totalBytes } = this.volume.space();
    return { totalBytes, freeBytes: this.cleaner.writableBytes };
  }

  view<T>(operation: (view: ItemView) => T): T | Promise<T> {
    return this.volume.view(operation);
  }

  change<T>(
    operation: (transaction: Transaction) => T,
    privileged = false,
  ): Changed<T> | Promise<Changed<T>> {
    if (privileged) return this.volume.change(operation, true);
    const turn = this.cleaner.gate.pass();
    if (turn === undefined) return this.attempt(operation, RETRIES);
    return turn.then(() => this.attempt(operation, RETRIES));
  }

  private attempt<T>(
    operation: (transaction: Transaction) => T,
    retries: number,
  ): MaybePromise<Changed<T>> {
    return orElse(
      () => this.volume.change(operation),
      (error) => {
        if (retries === 0 || !isNoSpace(error)) throw error;
        return this.cleaner.nextRound(error).then(() => this.attempt(operation, retries - 1));
      },
    );
  }

  readBlock(
    segment: number,
    offset: number,
    length: number,
    into?: Uint8Array,
  ): Uint8Array | Promise<Uint8Array> {
    return this.volume.readBlock(segment, offset, length, into);
  }
}

function isNoSpace(error: unknown): error is SmfsError {
  return (error as { code?: unknown } | null)?.code === "NO_SPACE";
}
