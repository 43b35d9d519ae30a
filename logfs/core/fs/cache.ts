/**
 * The bounded cache of clean nodes: the CLOCK algorithm (Corbató 1968) over their slots.
 *
 * A slot is charged while its node is loaded and clean. Dirty nodes are not here: they are bounded
 * by the checkpoint. A node leaves only when no operation under way needs it and none of its
 * children is loaded, so leaves go before the inner nodes above them.
 */
import { assert } from "../../../lib/assert.ts";
import type { Slot } from "./node.ts";

/** What an item costs beyond its bytes: its places in three lists. */
const ITEM_OVERHEAD_BYTES = 24;

export class NodeCache {
  readonly limitBytes: number;
  /** Charged now. */
  bytes = 0;
  nodes = 0;
  private readonly ring: Slot[] = [];
  private hand = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  /** The slot's node has become clean, or was loaded. */
  charge(slot: Slot): void {
    assert(slot.node !== null && slot.chargedBytes === 0, "only an uncharged, loaded node");
    slot.chargedBytes = slot.node.bytes + slot.node.highs.length * ITEM_OVERHEAD_BYTES;
    this.bytes += slot.chargedBytes;
    this.nodes++;
    if (slot.inCache) return;
    slot.inCache = true;
    this.ring.push(slot);
    if (this.ring.length > 2 * this.nodes + 64) this.compact();
  }

  /** The slot's node has become dirty, or is no longer part of the tree. */
  discharge(slot: Slot): void {
    if (slot.chargedBytes === 0) return;
    this.bytes -= slot.chargedBytes;
    this.nodes--;
    slot.chargedBytes = 0;
  }

  /**
   * Drops every node: the tree they belong to is no longer used, or (a snapshot's) loads again what
   * it needs.
   */
  clear(): void {
    for (const slot of this.ring) {
      if (slot.chargedBytes > 0) slot.node = null;
      slot.inCache = false;
      slot.chargedBytes = 0;
    }
    this.ring.length = 0;
    this.bytes = 0;
    this.nodes = 0;
  }

  /** Drops nodes until the cache is within its limit, or nothing more can go. */
  trim(): void {
    // Two rounds: the first may do nothing but clear marks.
    for (let steps = 2 * this.ring.length; steps > 0 && this.bytes > this.limitBytes; steps--) {
      if (this.hand >= this.ring.length) this.hand = 0;
      this.step(this.ring[this.hand] as Slot);
    }
  }

  private step(slot: Slot): void {
    if (slot.chargedBytes === 0) this.removeAtHand(slot);
    else if (slot.referenced) {
      slot.referenced = false;
      this.hand++;
    } else if (slot.pins > 0 || slot.node?.children.some((child) => child.node !== null)) {
      this.hand++;
    } else {
      this.discharge(slot);
      slot.node = null;
      this.removeAtHand(slot);
    }
  }

  private removeAtHand(slot: Slot): void {
    const last = this.ring.pop() as Slot;
    if (last !== slot) this.ring[this.hand] = last;
    slot.inCache = false;
  }

  /** Slots that were discharged stay in the ring until the hand meets them, or until this. */
  private compact(): void {
    let kept = 0;
    for (const slot of this.ring) {
      if (slot.chargedBytes > 0) this.ring[kept++] = slot;
      else slot.inCache = false;
    }
    this.ring.length = kept;
  }
}
