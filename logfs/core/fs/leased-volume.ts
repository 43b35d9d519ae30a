/**
 * A volume as one `FileSystem` uses it, until its lease ends: when the volume returns to a snapshot,
 * what that file system still has under way (a write that waits for space, the removal of a file
 * that was closed last) is about a tree that is no more, and must not happen to the other one.
 * From then on everything is ESTALE, each time an operation is tried.
 */
import { fail } from "../../../lib/errors.ts";
import type { ItemView, Transaction, Volume, VolumeStatistics } from "./api.ts";

export class LeasedVolume implements Volume {
  readonly readOnly: boolean;
  private readonly volume: Volume;
  private hasEnded = false;

  constructor(volume: Volume) {
    this.volume = volume;
    this.readOnly = volume.readOnly;
  }

  end(): void {
    this.hasEnded = true;
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
    return this.volume.view((view) => {
      if (this.hasEnded) fail("ESTALE");
      return operation(view);
    });
  }

  change<T>(
    operation: (transaction: Transaction) => T,
    privileged?: boolean,
  ): { value: T; sequence: number } | Promise<{ value: T; sequence: number }> {
    return this.volume.change((transaction) => {
      if (this.hasEnded) fail("ESTALE");
      return operation(transaction);
    }, privileged);
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
