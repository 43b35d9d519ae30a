/**
 * Layered interleaving, receiver's side: peeling.
 *
 * Repairs that miss two or more members wait. A repair that misses one rebuilds it: its symbol XOR
 * the other members. A rebuilt packet counts as arrived for every other repair, in all layers, until
 * nothing more follows (a work list, no recursion).
 *
 * Invariants: members are looked up by id inside the window only, a repair with a member that left
 * the window is given up, and what is rebuilt must be a symbol and nothing else; so of damaged
 * repairs (the transport authenticates datagrams, an appliance may not) most show.
 */
import { WaitingRepairs } from "./decoder-repairs.ts";
import { MAX_LAYERS } from "./parameters.ts";
import type { LayeredRepair } from "./repair.ts";
import type { SolverHost } from "./repair-solver.ts";

export class LayeredSolver {
  private readonly host: SolverHost;
  private readonly waiting: WaitingRepairs;
  /** Stack of repairs that miss one member now. Each waiting repair gets here at most once. */
  private readonly ready: Int32Array;
  private readyCount = 0;

  /** `capacity`: repairs that may wait; the oldest is given up for a new one. */
  constructor(host: SolverHost, capacity: number) {
    this.host = host;
    this.waiting = new WaitingRepairs(host.window.blocks, capacity, host.window.size);
    this.ready = new Int32Array(capacity);
  }

  /** Whether a repair misses a member, and no other of its layer waits for the same. */
  isNeeded({ first, count, stride, layer }: LayeredRepair): boolean {
    const { window } = this.host;
    if (window.isCompleteFrom(first) && window.ahead(first + (count - 1) * stride) <= 0)
      return false;
    let missing = 0;
    for (let n = 0; n < count; n++) {
      const id = first + n * stride;
      if (window.has(id)) continue;
      missing++;
      if (window.ahead(id) <= 0 && this.waiting.isClaimed(id, layer)) return false;
    }
    return missing > 0;
  }

  /** A needed repair, all of whose members are inside the window. */
  handleRepair(header: LayeredRepair, repair: Uint8Array): void {
    const entry = this.waiting.add(header, repair);
    let missing = 0;
    for (let n = 0; n < header.count; n++) {
      const id = header.first + n * header.stride;
      if (this.host.window.has(id)) continue;
      this.waiting.claim(entry, id);
      missing++;
    }
    if (missing === 1) this.ready[this.readyCount++] = entry;
    this.completeReady();
  }

  handlePresent(id: number): void {
    if (this.waiting.isEmpty) return;
    this.satisfyAll(id);
    this.completeReady();
  }

  handleEmptied(id: number): void {
    this.waiting.abandon(id);
  }

  handleGrown(): void {
    this.waiting.resize(this.host.window.size);
  }

  private satisfyAll(id: number): void {
    for (let layer = 0; layer < MAX_LAYERS; layer++) {
      const entry = this.waiting.satisfy(id, layer);
      if (entry >= 0) this.ready[this.readyCount++] = entry;
    }
  }

  private completeReady(): void {
    while (this.readyCount > 0) {
      const entry = this.ready[--this.readyCount] as number;
      // Its last member was rebuilt by another layer meanwhile.
      if (!this.waiting.isUsed(entry)) continue;
      // Members that were there when the repair came may have left the window; the first goes first.
      if (this.host.window.isBehind(this.waiting.memberOf(entry, 0))) this.giveUp(entry, "unused");
      else this.complete(entry);
    }
  }

  private complete(entry: number): void {
    const id = this.missingMember(entry);
    if (id < 0) {
      this.waiting.remove(entry);
      return;
    }
    if (!this.rebuild(entry, id)) {
      this.giveUp(entry, "inconsistentRepairs");
      return;
    }
    this.host.window.mark(id);
    this.host.noteRebuilt(id);
    this.satisfyAll(id);
  }

  private giveUp(entry: number, reason: "unused" | "inconsistentRepairs"): void {
    this.host.statistics[reason]++;
    this.waiting.remove(entry);
  }

  /** −1: none any more, because the last was rebuilt by another kind of repair just now. */
  private missingMember(entry: number): number {
    const count = this.waiting.count[entry] as number;
    for (let n = 0; n < count; n++) {
      const id = this.waiting.memberOf(entry, n);
      if (!this.host.window.has(id)) return id;
    }
    return -1;
  }

  /** Rebuilds the symbol of `id`, the one missing member. False when the result is impossible. */
  private rebuild(entry: number, id: number): boolean {
    const { waiting } = this;
    const { window } = this.host;
    const { blocks } = window;
    const target = window.blockOf(id);
    const bytes = waiting.symbolBytes[entry] as number;
    const count = waiting.count[entry] as number;
    blocks.copy(target, waiting.blockOf(entry), bytes);
    for (let n = 0; n < count; n++) {
      const member = waiting.memberOf(entry, n);
      if (member === id) continue;
      const block = window.blockOf(member);
      const memberBytes = blocks.symbolBytes(block);
      if (memberBytes > bytes) return false;
      blocks.xor(target, block, memberBytes);
    }
    return blocks.holdsSymbol(target, bytes);
  }
}
