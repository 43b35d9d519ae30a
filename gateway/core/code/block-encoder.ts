/**
 * Reed–Solomon blocks, sender's side: k packets, then m repairs, any k of all of which give the
 * packets back. Systematic; each packet is added to its block's m repairs as it passes.
 *
 * With an interleave of i, i blocks are filled in turn, so a burst of i · m packets can be repaired.
 * A block's repairs leave as soon as it is full, or partial when the sender falls idle or somebody
 * waits. Memory is taken at construction.
 */
import { assert } from "../../../lib/assert.ts";
import { Blocks } from "./blocks.ts";
import type { BlockParameters } from "./code.ts";
import { cauchyCoefficient } from "./coefficients.ts";
import type { KindEncoder } from "./encoder.ts";
import { Coverage } from "./encoder-coverage.ts";
import { checkParameters, repairsByLevel } from "./parameters.ts";
import { blockRepair, REPAIR } from "./repair.ts";

export class BlockEncoder implements KindEncoder {
  idleMicros: number;
  readonly parameters: BlockParameters;
  private readonly blocks: Blocks;
  /** The block of the packet in hand. */
  private readonly incoming: number;
  private readonly header;
  private readonly coverage: Coverage;
  /** The same, counting only repairs of full blocks. */
  private readonly spread: Coverage;
  /** By bin, twice `interleave` of them: half are filled while the others are sent. */
  private readonly first: Uint32Array;
  private readonly members: Uint16Array;
  private readonly symbolBytes: Uint16Array;
  /** By place in the rounds: which of its two bins is filled. */
  private readonly side: Uint8Array;
  private place = 0;
  /** Ring of full bins whose repairs leave, oldest first, and how many of the first have left. */
  private readonly queue: Int32Array;
  private head = 0;
  private queued = 0;
  private sent = 0;
  private lastPushMicros = -Infinity;
  /** Partial blocks leave as soon as the full ones have. */
  private isFlushing = false;

  /** Throws `SmfsError` CONFIG for parameters outside the limits of `parameters.ts`. */
  constructor(parameters: BlockParameters, idleMicros: number) {
    checkParameters(parameters);
    const { k, m, interleave } = parameters;
    const bins = 2 * interleave;
    this.parameters = parameters;
    this.idleMicros = idleMicros;
    this.blocks = new Blocks(bins * m + 1);
    this.incoming = bins * m;
    this.first = new Uint32Array(bins);
    this.members = new Uint16Array(bins);
    this.symbolBytes = new Uint16Array(bins);
    this.side = new Uint8Array(interleave);
    this.queue = new Int32Array(bins);
    this.header = { kind: REPAIR.block, k, m, index: 0, count: 0, stride: interleave, first: 0 };
    const levels = repairsByLevel(parameters);
    this.coverage = new Coverage(levels);
    this.spread = new Coverage(levels);
    for (const each of [this.coverage, this.spread]) each.reserve(4 * k * interleave);
  }

  push(id: number, packet: Uint8Array, nowMicros: number): void {
    this.lastPushMicros = nowMicros;
    this.coverage.push(id);
    this.spread.push(id);
    this.blocks.storePacket(this.incoming, packet);
    const bin = this.openBin();
    if (this.members[bin] === 0) this.start(bin, id);
    this.add(bin);
    if (this.members[bin] === this.parameters.k) this.close(this.place);
    this.place = (this.place + 1) % this.parameters.interleave;
  }

  poll(out: Uint8Array, nowMicros: number): number {
    if (nowMicros >= this.lastPushMicros + this.idleMicros) this.isFlushing = true;
    if (this.queued === 0 && this.isFlushing) this.flush();
    if (this.queued === 0) return 0;
    const bin = this.queue[this.head] as number;
    const length = this.write(bin, this.sent++, out);
    if (this.sent === this.parameters.m) this.finish(bin);
    return length;
  }

  nextTimeoutMicros(): number {
    if (this.queued > 0 || (this.isFlushing && !this.isEmpty)) return this.lastPushMicros;
    return this.isEmpty ? Infinity : this.lastPushMicros + this.idleMicros;
  }

  /** All partial blocks leave, as in the other codes. */
  flushThrough(id: number, _nowMicros: number): void {
    for (let place = 0; place < this.side.length; place++) {
      const bin = this.binAt(place);
      const isCovered = this.members[bin] !== 0 && ((id - (this.first[bin] as number)) | 0) >= 0;
      if (isCovered) this.isFlushing = true;
    }
  }

  coveredThrough(level: number): number {
    return this.coverage.coveredThrough(level);
  }

  spreadThrough(level: number): number {
    return this.spread.coveredThrough(level);
  }

  release(id: number): void {
    this.coverage.release(id);
    this.spread.release(id);
  }

  private binAt(place: number): number {
    return 2 * place + (this.side[place] as number);
  }

  private openBin(): number {
    return this.binAt(this.place);
  }

  private get isEmpty(): boolean {
    for (let place = 0; place < this.side.length; place++) {
      if (this.members[this.binAt(place)] !== 0) return false;
    }
    return true;
  }

  private start(bin: number, id: number): void {
    const { m } = this.parameters;
    this.first[bin] = id;
    this.symbolBytes[bin] = 0;
    for (let index = 0; index < m; index++) this.blocks.clear(bin * m + index);
  }

  private add(bin: number): void {
    const { m } = this.parameters;
    const bytes = this.blocks.symbolBytes(this.incoming);
    const member = this.members[bin] as number;
    for (let index = 0; index < m; index++) {
      const coefficient = cauchyCoefficient(index, member);
      this.blocks.addScaled(bin * m + index, this.incoming, bytes, coefficient);
    }
    this.members[bin] = member + 1;
    this.symbolBytes[bin] = Math.max(bytes, this.symbolBytes[bin] as number);
  }

  private close(place: number): void {
    const bin = this.binAt(place);
    assert(this.members[bin ^ 1] === 0, "too many repairs wait: poll() was not drained");
    this.queue[(this.head + this.queued++) % this.queue.length] = bin;
    this.side[place] = 1 - (this.side[place] as number);
  }

  private flush(): void {
    this.isFlushing = false;
    const { interleave } = this.parameters;
    for (let n = 0; n < interleave; n++) {
      // The bin that the next packet joins holds the oldest members.
      const place = (this.place + n) % interleave;
      if (this.members[this.binAt(place)] !== 0) this.close(place);
    }
  }

  private write(bin: number, index: number, out: Uint8Array): number {
    const { header } = this;
    header.index = index;
    header.first = this.first[bin] as number;
    header.count = this.members[bin] as number;
    const bytes = this.symbolBytes[bin] as number;
    const block = bin * this.parameters.m + index;
    out.set(this.blocks.makeRepair(block, blockRepair, header, bytes));
    this.coverage.cover(header.first, header.stride, header.count);
    const isFull = header.count === header.k;
    if (isFull) this.spread.cover(header.first, header.stride, header.count);
    return blockRepair.size + bytes;
  }

  private finish(bin: number): void {
    this.members[bin] = 0;
    this.sent = 0;
    this.head = (this.head + 1) % this.queue.length;
    this.queued--;
  }
}
