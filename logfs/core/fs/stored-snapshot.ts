/**
 * `StoredSnapshot`: a snapshot's volume for somebody who only looks at the files, while a site runs on
 * them. The site's cleaner may move what the snapshot holds, and drop where it stood. Whoever meets
 * that opens the files again: the newest checkpoint says where everything stands now.
 */
import { fail, SmfsError } from "../../../lib/errors.ts";
import type { ItemView, Volume, VolumeStatistics } from "./api.ts";

/** Moves come seconds apart: who has looked so often in one operation will not find it. */
const MAX_LOOKS = 8;

export class StoredSnapshot implements Volume {
  readonly readOnly = true;
  private volume: Volume;
  private readonly open: () => Promise<Volume>;
  private opening: Promise<void> | null = null;

  /** `open`: the snapshot as it stands now. Rejects when it is kept no more. */
  constructor(volume: Volume, open: () => Promise<Volume>) {
    this.volume = volume;
    this.open = open;
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

  space(): { totalBytes: number; freeBytes: number } {
    return this.volume.space();
  }

  view<T>(operation: (view: ItemView) => T): T | Promise<T> {
    return this.look(() => this.volume.view(operation), MAX_LOOKS);
  }

  change(): never {
    return fail("EROFS");
  }

  /** What is gone is NOT_FOUND, and whoever planned the read plans it again, by what was opened then. */
  async readBlock(
    segment: number,
    offset: number,
    length: number,
    into?: Uint8Array,
  ): Promise<Uint8Array> {
    try {
      return await this.volume.readBlock(segment, offset, length, into);
    } catch (error) {
      if (isGone(error)) await this.openAgain();
      throw error;
    }
  }

  private async look<T>(act: () => T | Promise<T>, left: number): Promise<T> {
    try {
      return await act();
    } catch (error) {
      if (!isGone(error) || left === 0) throw error;
      await this.openAgain();
      return this.look(act, left - 1);
    }
  }

  /** Those who meet it at the same moment open it once. */
  private openAgain(): Promise<void> {
    this.opening ??= this.open()
      .then((volume) => {
        this.volume = volume;
      })
      .finally(() => {
        this.opening = null;
      });
    return this.opening;
  }
}

/** A segment is not there any more, or a tree points to one that is not. */
export function isGone(error: unknown): boolean {
  if (!(error instanceof SmfsError)) return false;
  return error.code === "NOT_FOUND" || (error.code === "DAMAGED" && isGone(error.cause));
}
