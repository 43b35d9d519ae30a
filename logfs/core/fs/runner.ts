/**
 * Runs operations that may throw `Miss`: loads the node, then runs the operation again from its
 * start. An operation whose nodes are in memory is answered at once.
 *
 * Progress: every node loaded for an operation is pinned until the operation has ended, so each
 * further run goes at least one node further, whatever the size of the cache. Operations that miss
 * the same node share one read.
 */
import { assert } from "../../../lib/assert.ts";
import { SmfsError } from "../../../lib/errors.ts";
import type { LogReader } from "../log/api.ts";
import type { NodeCache } from "./cache.ts";
import type { NodeReference, Slot } from "./node.ts";
import { decodeNode } from "./node-codec.ts";
import { planAgain } from "./plan-again.ts";
import { readLog } from "./reading-log.ts";
import { Miss } from "./miss.ts";

/** Nodes one operation may load: 64 MiB of leaves. Larger jobs are cut into operations. */
const MAX_LOADS = 4096;

export class Runner {
  /** Nodes that had to be loaded. */
  misses = 0;
  private readonly log: Pick<LogReader, "read">;
  private readonly cache: NodeCache;
  private readonly loading = new Map<Slot, Promise<void>>();

  /** `cache` counts what is loaded. */
  constructor(log: Pick<LogReader, "read">, cache: NodeCache) {
    this.log = log;
    this.cache = cache;
  }

  /** Throws or rejects with whatever `attempt` throws that is not `Miss`, or loading a node does. */
  run<T>(attempt: () => T): T | Promise<T> {
    return planAgain(() => this.runOnce(attempt));
  }

  private runOnce<T>(attempt: () => T): T | Promise<T> {
    const pinned: Slot[] = [];
    const first = this.advance(attempt, pinned);
    return first instanceof Promise ? this.finish(attempt, pinned, first) : first.value;
  }

  private async finish<T>(attempt: () => T, pinned: Slot[], firstLoad: Promise<void>): Promise<T> {
    let load = firstLoad;
    for (;;) {
      try {
        await load;
      } catch (error) {
        this.release(pinned);
        throw error;
      }
      const next = this.advance(attempt, pinned);
      if (!(next instanceof Promise)) return next.value;
      load = next;
    }
  }

  /** Runs until the operation ends, or a node must be waited for. */
  private advance<T>(attempt: () => T, pinned: Slot[]): { value: T } | Promise<void> {
    try {
      for (;;) {
        const outcome = once(attempt);
        if (outcome.missed === null) {
          this.release(pinned);
          return outcome;
        }
        const load = this.pin(outcome.missed, pinned);
        if (load !== null) return load;
      }
    } catch (error) {
      this.release(pinned);
      throw error;
    }
  }

  private pin(slot: Slot, pinned: Slot[]): Promise<void> | null {
    if (pinned.length >= MAX_LOADS) {
      throw new SmfsError("IO", `one operation needs more than ${MAX_LOADS} tree nodes`);
    }
    slot.pins++;
    pinned.push(slot);
    return this.loading.get(slot) ?? this.load(slot);
  }

  /** null when the log answered at once. */
  private load(slot: Slot): Promise<void> | null {
    const { reference } = slot;
    assert(reference !== null, "a node that is not in the log is in memory");
    this.misses++;
    const block = readLog(this.log, reference, reference.length);
    if (!(block instanceof Promise)) {
      this.place(slot, reference, block);
      return null;
    }
    const load = block
      .then((later) => this.place(slot, reference, later))
      .finally(() => this.loading.delete(slot));
    this.loading.set(slot, load);
    return load;
  }

  private place(slot: Slot, reference: NodeReference, block: Uint8Array): void {
    // A view into the log's tail would keep megabytes there for a node of some kilobytes.
    const own = block.length < block.buffer.byteLength ? block.slice() : block;
    slot.node = decodeNode(own, reference, slot.level);
    slot.referenced = true;
    this.cache.charge(slot);
  }

  private release(pinned: Slot[]): void {
    if (pinned.length === 0) return;
    for (const slot of pinned) slot.pins--;
    pinned.length = 0;
    this.cache.trim();
  }
}

function once<T>(attempt: () => T): { missed: null; value: T } | { missed: Slot } {
  try {
    return { missed: null, value: attempt() };
  } catch (error) {
    if (!(error instanceof Miss) || error.slot === null) throw error;
    return { missed: error.slot };
  }
}
