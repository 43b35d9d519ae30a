/** How reading a tree says that a node is not in memory; `runner.ts` catches it. */
import type { Node, Slot } from "./node.ts";

/** A node that an operation needs is not in memory. One shared instance: it is control flow. */
export class Miss extends Error {
  override name = "Miss";
  slot: Slot | null = null;
}

const sharedMiss = new Miss("a tree node is not in memory");
delete sharedMiss.stack;

function miss(slot: Slot): never {
  sharedMiss.slot = slot;
  throw sharedMiss;
}

/** The slot's node; throws `Miss` when it is not in memory. */
export function loaded(slot: Slot): Node {
  slot.referenced = true;
  return slot.node ?? miss(slot);
}
