/**
 * What applications did and were told, kept apart from the world: the model that the checkers
 * compare file systems with. A state is named by its digest; state `k` is that after `k` operations.
 */
import { crc32c } from "../../lib/crc32c.ts";
import type { SyncLevel } from "../../logfs/core/vfs.ts";

/** Content of every file, by name. Contents are replaced, never changed in place. */
export type Model = ReadonlyMap<string, Uint8Array>;

export interface Acknowledgement {
  readonly level: SyncLevel;
  /** Operations that it covers. */
  readonly operations: number;
  /** Newest record that it covers. */
  readonly sequence: number;
}

export class History {
  private states: { model: Model; digest: string }[] = [stateOf(new Map())];
  /** States that a crash of the primary took back: a mirror may show them until it learns of it. */
  private abandoned: { digest: string; common: number }[] = [];
  /** Operations that returned: level `written`. */
  completed = 0;
  private acknowledgements: Acknowledgement[] = [];
  operations = 0;
  /** Syncs that failed; none may while the disks are sound. */
  failedSyncs = 0;
  acknowledged = 0;

  get model(): Model {
    return (this.states.at(-1) as { model: Model }).model;
  }

  /** An operation is about to be asked for; from now on its effect may be found. */
  begin(next: Model): number {
    this.states.push(stateOf(next));
    this.operations++;
    return this.states.length - 1;
  }

  complete(index: number): void {
    this.completed = Math.max(this.completed, index);
  }

  acknowledge(acknowledgement: Acknowledgement): void {
    this.acknowledged++;
    this.acknowledgements.push(acknowledgement);
  }

  /** Most operations that an acknowledgement fulfilling `holds` covers. */
  promised(holds: (acknowledgement: Acknowledgement) => boolean): number {
    let most = 0;
    for (const each of this.acknowledgements) {
      if (holds(each)) most = Math.max(most, each.operations);
    }
    return most;
  }

  /** After how many operations the file system looked like this; the latest such; −1: never. */
  find(found: Model): number {
    const { digest } = stateOf(found);
    return this.states.findLastIndex((state) => state.digest === digest);
  }

  /**
   * As `find`, for a mirror: a state that the primary lost in a crash counts as the last one before
   * that both have.
   */
  findAtMirror(found: Model): number {
    const index = this.find(found);
    if (index >= 0) return index;
    const { digest } = stateOf(found);
    return this.abandoned.findLast((state) => state.digest === digest)?.common ?? -1;
  }

  /** A crash took back what came after `index`; the history goes on from there. */
  rewind(index: number): void {
    for (const { digest } of this.states.slice(index + 1)) {
      this.abandoned.push({ digest, common: index });
    }
    for (const state of this.abandoned) state.common = Math.min(state.common, index);
    this.states.length = index + 1;
    this.completed = index;
    this.acknowledgements = this.acknowledgements.filter(({ operations }) => operations <= index);
  }
}

function stateOf(model: Model): { model: Model; digest: string } {
  const files = [...model].toSorted(([a], [b]) => (a < b ? -1 : 1));
  const digest = files.map(([name, bytes]) => `${name}:${bytes.length}:${crc32c(bytes)}`).join(" ");
  return { model, digest };
}
