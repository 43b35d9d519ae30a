/**
 * Sliding window code, sender's side (RFC 8681): a repair is a random linear combination, in GF(256),
 * of the latest W packets, and c of them leave evenly spread among r data packets.
 *
 * What was acknowledged leaves the window early: it costs time and helps nobody. With a density below
 * 16 only so many sixteenths of the older packets enter a repair; flushed repairs have them all.
 *
 * Idle flush: when nothing was pushed for `idleMicros`, or when somebody waits (`flushThrough`), as
 * many repairs leave as the last packet misses of its c.
 */
import { Blocks, symbolHeader } from "./blocks.ts";
import type { SlidingWindowParameters } from "./code.ts";
import { randomCoefficient } from "./coefficients.ts";
import type { KindEncoder } from "./encoder.ts";
import { checkParameters, FULL_DENSITY, repairsByLevel } from "./parameters.ts";
import { REPAIR, slidingWindowRepair } from "./repair.ts";
import { RepairMarks } from "./repair-marks.ts";

export class SlidingWindowEncoder implements KindEncoder {
  idleMicros: number;
  readonly parameters: SlidingWindowParameters;
  private readonly levels: readonly number[];
  /** The window's packets, then the repair in the making. */
  private readonly blocks: Blocks;
  private readonly repairBlock: number;
  private readonly header;
  private readonly marks = new RepairMarks();
  /** The same, counting only repairs that left when it was their turn. */
  private readonly spread = new RepairMarks();
  /** Packets in the window. */
  private count = 0;
  private lastId = 0;
  private lastSlot = 0;
  private lastPushMicros = -Infinity;
  /** Repairs owed for what was pushed, in r-ths. */
  private owed = 0;
  /** Repairs that a flush has made due. */
  private flushing = 0;
  /** Repairs since the last packet, all of which cover it. */
  private sinceLast = 0;

  /** Throws `SmfsError` CONFIG for parameters outside the limits of `parameters.ts`. */
  constructor(parameters: SlidingWindowParameters, idleMicros: number) {
    checkParameters(parameters);
    const { r, c, window } = parameters;
    this.parameters = parameters;
    this.idleMicros = idleMicros;
    this.levels = repairsByLevel(parameters);
    this.blocks = new Blocks(window + 1);
    this.repairBlock = window;
    const recipe = { density: 0, count: 0, seed: 0, first: 0 };
    this.header = { kind: REPAIR.slidingWindow, r, c, window, ...recipe };
  }

  push(id: number, packet: Uint8Array, nowMicros: number): void {
    if (this.count === 0) this.start(id);
    this.lastSlot = (this.lastSlot + 1) % this.parameters.window;
    this.lastId = id;
    this.lastPushMicros = nowMicros;
    this.count = Math.min(this.count + 1, this.parameters.window);
    this.blocks.storePacket(this.lastSlot, packet);
    this.owed += this.parameters.c;
    this.sinceLast = 0;
  }

  poll(out: Uint8Array, nowMicros: number): number {
    if (this.owed >= this.parameters.r) {
      this.owed -= this.parameters.r;
      return this.write(out, this.parameters.density, this.spread);
    }
    if (nowMicros >= this.lastPushMicros + this.idleMicros) this.flush();
    if (this.flushing === 0 || this.count === 0) return 0;
    this.flushing--;
    return this.write(out, FULL_DENSITY, null);
  }

  nextTimeoutMicros(): number {
    if (this.count === 0) return Infinity;
    if (this.owed >= this.parameters.r || this.flushing > 0) return this.lastPushMicros;
    return this.isFlushed ? Infinity : this.lastPushMicros + this.idleMicros;
  }

  flushThrough(id: number, _nowMicros: number): void {
    if (((this.marks.endOf(this.parameters.c) - id) | 0) < 0) this.flush();
  }

  coveredThrough(level: number): number {
    return this.marks.endOf(this.levels[level - 1] as number);
  }

  spreadThrough(level: number): number {
    return this.spread.endOf(this.levels[level - 1] as number);
  }

  release(id: number): void {
    const after = (this.lastId - id) | 0;
    this.count = Math.min(this.count, Math.max(0, after));
    if (this.count === 0) this.owed %= this.parameters.r;
    this.marks.release(after < 0 ? this.lastId : id);
    this.spread.release(after < 0 ? this.lastId : id);
  }

  private start(id: number): void {
    this.marks.start((id - 1) >>> 0);
    this.spread.start((id - 1) >>> 0);
  }

  private get isFlushed(): boolean {
    return this.sinceLast >= this.parameters.c;
  }

  private flush(): void {
    const isPending = this.count > 0 && !this.isFlushed;
    if (isPending && this.flushing === 0) this.flushing = this.parameters.c - this.sinceLast;
  }

  private write(out: Uint8Array, density: number, spread: RepairMarks | null): number {
    this.marks.push(this.lastId);
    spread?.push(this.lastId);
    this.sinceLast++;
    const { header } = this;
    header.density = density;
    header.count = this.count;
    header.first = (this.lastId - header.count + 1) >>> 0;
    header.seed = (header.seed + 1) & 0xffff;
    const bytes = this.combine();
    out.set(this.blocks.makeRepair(this.repairBlock, slidingWindowRepair, header, bytes));
    return slidingWindowRepair.size + bytes;
  }

  /** Sums the members up; the length of the longest symbol. */
  private combine(): number {
    const { blocks, header, repairBlock } = this;
    const { window } = this.parameters;
    blocks.clear(repairBlock);
    let longest = symbolHeader.size;
    for (let age = 0; age < header.count; age++) {
      const coefficient = randomCoefficient(header.seed, age, header.density);
      if (coefficient === 0) continue;
      const block = (this.lastSlot + window - age) % window;
      const bytes = blocks.symbolBytes(block);
      blocks.addScaled(repairBlock, block, bytes, coefficient);
      longest = Math.max(longest, bytes);
    }
    return longest;
  }
}
