/**
 * What applications did and were told, kept apart from the world: the model that the checkers
 * compare file systems with. A state is named by its digest; state `k` is that after `k` operations.
 */
import { equalBytes } from "../../lib/bytes.ts";
import { crc32c } from "../../lib/crc32c.ts";
import type { SyncLevel } from "../../logfs/core/vfs.ts";

/**
 * Content of every file, by name; those of snapshot `s` are named `@s/name`, and `@s` stands for the
 * snapshot itself. Contents are replaced, never changed in place.
 */
export type Model = ReadonlyMap<string, Uint8Array>;

export interface Acknowledgement {
  readonly level: SyncLevel;
  /** Operations that it covers. */
  readonly operations: number;
  /** Newest record that it covers. */
  readonly sequence: number;
}

export class History {
  private states: { model: Model; digest: string }[];
  /** States that a crash of the primary took back: a mirror may show them until it learns of it. */
  private abandoned: { model: Model; digest: string; common: number }[] = [];
  /** Operations that returned: level `written`. */
  completed = 0;
  private readonly byLevel = new Map<SyncLevel, number>();
  private acknowledgements: Acknowledgement[] = [];
  operations = 0;
  /** Syncs that failed; none may while the disks are sound. */
  failedSyncs = 0;
  acknowledged = 0;

  constructor(first: Model = new Map()) {
    this.states = [stateOf(first)];
  }

  get model(): Model {
    return (this.states.at(-1) as { model: Model }).model;
  }

  /** An operation is about to be asked for; from now on its effect may be found. */
  begin(next: Model): number {
    this.states.push(stateOf(next));
    this.operations++;
    return this.states.length - 1;
  }

  /** The operation was refused: its effect must not be found. */
  retract(index: number): void {
    if (index !== this.states.length - 1) throw new Error("something was begun meanwhile");
    this.states.pop();
  }

  complete(index: number): void {
    this.completed = Math.max(this.completed, index);
  }

  acknowledge(acknowledgement: Acknowledgement): void {
    const { level } = acknowledgement;
    this.acknowledged++;
    this.byLevel.set(level, this.acknowledgedAt(level) + 1);
    this.acknowledgements.push(acknowledgement);
  }

  /** How many acknowledgements at this level there ever were. */
  acknowledgedAt(level: SyncLevel): number {
    return this.byLevel.get(level) ?? 0;
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
  find(found: ReadonlyMap<string, Uint8Array | null>): number {
    const digest = digestOf(found);
    return this.states.findLastIndex((state) => state.digest === digest);
  }

  /**
   * As `find`, for a mirror: a state that the primary lost in a crash counts as the last one before
   * that both have.
   */
  findAtMirror(found: ReadonlyMap<string, Uint8Array | null>): number {
    const index = this.find(found);
    if (index >= 0) return index;
    const digest = digestOf(found);
    return this.abandoned.findLast((state) => state.digest === digest)?.common ?? -1;
  }

  /**
   * As `findAtMirror`, when some files could not be read (null): the newest state that all others fit,
   * which has exactly these names.
   */
  findDamagedAtMirror(found: ReadonlyMap<string, Uint8Array | null>): number {
    const fits = ({ model }: { readonly model: Model }): boolean => {
      if (model.size !== found.size) return false;
      return [...found].every(([name, bytes]) => {
        const content = model.get(name);
        return content !== undefined && (bytes === null || equalBytes(bytes, content));
      });
    };
    const index = this.states.findLastIndex(fits);
    return index >= 0 ? index : (this.abandoned.findLast(fits)?.common ?? -1);
  }

  /** A crash took back what came after `index`; the history goes on from there. */
  rewind(index: number): void {
    for (const state of this.states.slice(index + 1)) {
      this.abandoned.push({ ...state, common: index });
    }
    for (const state of this.abandoned) state.common = Math.min(state.common, index);
    this.states.length = index + 1;
    this.completed = index;
    this.acknowledgements = this.acknowledgements.filter(({ operations }) => operations <= index);
  }
}

function stateOf(model: Model): { model: Model; digest: string } {
  return { model, digest: digestOf(model) };
}

const sums = new WeakMap<Uint8Array, number>();

function sumOf(bytes: Uint8Array): number {
  const known = sums.get(bytes) ?? crc32c(bytes);
  sums.set(bytes, known);
  return known;
}

function digestOf(model: ReadonlyMap<string, Uint8Array | null>): string {
  const files = [...model].toSorted(([a], [b]) => (a < b ? -1 : 1));
  const parts = files.map(([name, bytes]) =>
    bytes === null ? `${name}: refused` : `${name}:${bytes.length}:${sumOf(bytes)}`,
  );
  return parts.join(" ");
}
