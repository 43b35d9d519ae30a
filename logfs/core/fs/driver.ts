/**
 * `Driver`: how an operation becomes a record, and what follows it.
 *
 * Runs an operation on the volume; then, and only then, lets the caller change its tables; then
 * waits for a sync level. It also finishes what takes more than one record: truncations and
 * removals, in batches, between which the log gets time to write.
 */
import {
  type Attributes,
  type Caller,
  type MaybePromise,
  SYNC_LEVELS,
  type SyncLevel,
  type SyncRequest,
  type Timestamp,
} from "../vfs.ts";
import type { Committer, ItemView, SyncOptions, Transaction, Volume } from "./api.ts";
import { chain } from "./maybe.ts";
import type { AttributesChanged } from "./attributes.ts";
import { attributesOf, loadInode } from "./inodes.ts";
import { LOW_END, ORPHANS, timestampOf, TRUNCATIONS } from "./items.ts";
import type { Actor } from "./namespace.ts";
import { collectOrphan, type Removal } from "./removal.ts";
import { continueTruncation } from "./truncation.ts";
import type { AfterUse, UsedInodes } from "./used.ts";

/** Whether a change may use the space that the log keeps back for those that free some. */
export type Space = "takesSpace" | "freesSpace";

type Operation<T> = (transaction: Transaction) => T;

/** Unfinished removals that a mount looks at together. */
const PENDING_BATCH = 1024;

export class Driver {
  readonly sync: SyncOptions;
  private readonly volume: Volume;
  private readonly committer: Committer;
  private readonly used: UsedInodes;

  constructor(volume: Volume, committer: Committer, sync: SyncOptions, used: UsedInodes) {
    this.volume = volume;
    this.committer = committer;
    this.sync = sync;
    this.used = used;
  }

  /** Runs a change; when it is done, `after`; then waits for `level`. */
  change<T, R>(
    space: Space,
    operation: Operation<T>,
    after: (value: T, sequence: number) => MaybePromise<R>,
    level: SyncLevel = this.sync.floor,
  ): MaybePromise<R> {
    const changed = this.volume.change(operation, space === "freesSpace");
    return chain(changed, ({ value, sequence }) =>
      chain(after(value, sequence), (result) => this.settled(result, sequence, level)),
    );
  }

  /** The time of an operation: this step's. */
  now(): Timestamp {
    return timestampOf(this.volume.nowMicros());
  }

  actor(caller: Caller): Actor {
    return { caller, now: this.now() };
  }

  /** `result`, when record `sequence` is as safe as `level` says. */
  settled<R>(result: R, sequence: number, level: SyncLevel): MaybePromise<R> {
    const wait = this.committer.wait(sequence, level);
    return wait === undefined ? result : wait.then(() => result);
  }

  /** `full`: the level of this kind of request when it asks for everything. */
  levelOf(request: SyncRequest, full: SyncLevel): SyncLevel {
    if (request === "none") return this.sync.floor;
    return stronger(this.sync.floor, request === "data" ? this.sync.dataSync : full);
  }

  touched(sequence: number, ...inodes: number[]): void {
    for (const inode of inodes) this.used.touched(inode, sequence);
  }

  afterRemoval({ inode, fate, remains }: Removal, sequence: number): MaybePromise<void> {
    this.touched(sequence, inode);
    if (remains !== undefined) this.used.removed(inode, remains);
    if (fate === "orphaned") return this.afterUse(inode, this.used.orphan(inode));
  }

  /** A read-only volume leaves its orphans to the writer. */
  afterUse(inode: number, after: AfterUse): MaybePromise<void> {
    return after === "collect" && !this.volume.readOnly ? this.collect(inode) : undefined;
  }

  /** What setting the size does to space: making a file shorter frees some. */
  spaceOf(inode: number, size: number | undefined): MaybePromise<Space> {
    if (size === undefined) return "takesSpace";
    const current = this.volume.view((view) => loadInode(view, inode).size);
    return chain(current, (now) => (size < now ? "freesSpace" : "takesSpace"));
  }

  /** The attributes, when nothing of a truncation is left. */
  afterTruncation({ attributes, truncating }: AttributesChanged): MaybePromise<Attributes> {
    if (!truncating) return attributes;
    const { inode } = attributes;
    return chain(this.finishTruncation(inode), () =>
      this.volume.view((view) => attributesOf(inode, loadInode(view, inode))),
    );
  }

  finishTruncation(inode: number): MaybePromise<void> {
    return this.drain((transaction) => continueTruncation(transaction, inode));
  }

  /** Finishes what a crash interrupted, before anything is used. */
  async finishPending(): Promise<void> {
    if (this.volume.readOnly) return;
    await this.forEachLow(ORPHANS, (inode) => this.collect(inode));
    await this.forEachLow(TRUNCATIONS, (inode) => this.finishTruncation(inode));
  }

  private async forEachLow(high: number, act: (low: number) => MaybePromise<void>): Promise<void> {
    for (let from = 0; ; ) {
      const next = from;
      const lows = await this.volume.view((view) => lowsOf(view, high, next, PENDING_BATCH));
      for (const low of lows) await act(low);
      const last = lows.at(-1);
      if (last === undefined) return;
      from = last + 1;
    }
  }

  private collect(inode: number): MaybePromise<void> {
    const { used } = this;
    const collected = this.drain((transaction) => collectOrphan(transaction, inode, used.isUsed));
    return chain(collected, () => {
      // Held again meanwhile: whoever lets it go last goes on.
      if (used.isUsed(inode)) used.orphan(inode);
    });
  }

  private drain(batch: Operation<boolean>): MaybePromise<void> {
    const first = this.volume.change(batch, true);
    return chain(first, ({ value: done, sequence }) =>
      done ? undefined : this.drainOn(batch, sequence),
    );
  }

  private async drainOn(batch: Operation<boolean>, firstSequence: number): Promise<void> {
    let step = { value: false, sequence: firstSequence };
    while (!step.value) {
      await this.committer.wait(step.sequence, "written");
      step = await this.volume.change(batch, true);
    }
  }
}

function stronger(a: SyncLevel, b: SyncLevel): SyncLevel {
  return SYNC_LEVELS.indexOf(a) >= SYNC_LEVELS.indexOf(b) ? a : b;
}

/** Lows of up to `limit` items under `high`, from `from` on. */
function lowsOf(view: ItemView, high: number, from: number, limit: number): number[] {
  const lows: number[] = [];
  view.scan(high, from, LOW_END, (low) => lows.push(low) < limit);
  return lows;
}
