/**
 * Layered interleaving, sender's side (Maelstrom, NSDI 2008, as SMFS §3.2 uses it).
 *
 * Data packet n joins one bin of every layer; a bin that has its r members leaves as one repair, so
 * c layers give c repairs for r packets. Sparse layers spread a burst over many groups, dense ones
 * repair single losses fast. Steps of `push`: copy the packet once beside the groups, XOR it into
 * one group per layer, close the groups that are full (`encoder-layer.ts`: stagger and delay).
 *
 * Idle flush: when nothing was pushed for `idleMicros`, or when somebody waits (`flushThrough`),
 * partial groups leave too, dense layers first: the sparse layers' repairs are then the farthest
 * from the data on the wire, which is what a burst has to span. A partial group of one member is a
 * copy.
 *
 * The caller drains `poll` after each `push`; one that does not is stopped by an assertion, because
 * memory is bounded and a dropped repair would break `coveredThrough`.
 */
import { assert } from "../../../lib/assert.ts";
import { DEFAULT_CODE, type LayeredParameters } from "./code.ts";
import type { KindEncoder } from "./encoder.ts";
import { Coverage } from "./encoder-coverage.ts";
import { Groups } from "./encoder-groups.ts";
import { EncoderLayer } from "./encoder-layer.ts";
import { checkParameters, horizonPackets, MAX_LAYERS } from "./parameters.ts";
import { layeredRepair, type LayeredRepair, REPAIR } from "./repair.ts";

export interface LayeredOptions {
  readonly parameters?: LayeredParameters;
  /** Silence after which partial groups leave, microseconds. */
  readonly idleMicros?: number;
}

const DEFAULT_IDLE_MICROS = 2000;
/** Level n: the repairs of n layers. */
const LEVELS = Array.from({ length: MAX_LAYERS }, (_, layer) => layer + 1);

export class LayeredEncoder implements KindEncoder {
  /** Silence after which partial groups leave; may change at any time. */
  idleMicros: number;
  private current: LayerSet;
  /** Layers of the parameters before, until their flushed repairs have been polled. */
  private retiring: LayerSet | null = null;
  private readonly coverage = new Coverage(LEVELS);
  /** The same, counting only repairs that had served their delay. */
  private readonly spread = new Coverage(LEVELS);
  private lastId = 0;
  private lastPushMicros = -Infinity;

  /** Throws `SmfsError` CONFIG for parameters outside the limits of `parameters.ts`. */
  constructor(options: LayeredOptions = {}) {
    this.idleMicros = options.idleMicros ?? DEFAULT_IDLE_MICROS;
    this.current = new LayerSet(options.parameters ?? DEFAULT_CODE);
    this.reserve();
  }

  get parameters(): LayeredParameters {
    return this.current.parameters;
  }

  push(id: number, packet: Uint8Array, nowMicros: number): void {
    const follows = this.lastPushMicros === -Infinity || id === (this.lastId + 1) >>> 0;
    assert(follows, "data packets must be numbered one after the other");
    this.lastId = id;
    this.lastPushMicros = nowMicros;
    this.coverage.push(id);
    this.spread.push(id);
    this.current.groups.take(packet);
    for (const layer of this.current.layers) layer.push(id);
  }

  poll(out: Uint8Array, nowMicros: number): number {
    if (nowMicros >= this.lastPushMicros + this.idleMicros) this.flush();
    if (this.retiring !== null) {
      const length = this.pollSet(this.retiring, out);
      if (length > 0) return length;
      this.retiring = null;
    }
    return this.pollSet(this.current, out);
  }

  nextTimeoutMicros(): number {
    if (this.retiring !== null) return this.lastPushMicros;
    if (this.current.layers.some((layer) => layer.isDue())) return this.lastPushMicros;
    return this.current.groups.used > 0 ? this.lastPushMicros + this.idleMicros : Infinity;
  }

  /**
   * All partial groups leave, not only those that cover `id`: the redundancy model counts on a
   * group's members having the repairs of all denser layers.
   */
  flushThrough(id: number, _nowMicros: number): void {
    if (this.current.layers.some((layer) => layer.covers(id))) this.flush();
  }

  coveredThrough(layers: number): number {
    return this.coverage.coveredThrough(layers);
  }

  spreadThrough(layers: number): number {
    return this.spread.coveredThrough(layers);
  }

  release(id: number): void {
    this.coverage.release(id);
    this.spread.release(id);
  }

  setParameters(parameters: LayeredParameters, _nowMicros: number): void {
    assert(this.retiring === null, "poll() must be drained before parameters change again");
    const next = new LayerSet(parameters);
    this.flush();
    if (this.current.groups.used > 0) this.retiring = this.current;
    this.current = next;
    this.reserve();
  }

  private flush(): void {
    for (const layer of this.current.layers) layer.flush();
  }

  private reserve(): void {
    this.coverage.reserve(this.current.span);
    this.spread.reserve(this.current.span);
  }

  private pollSet(set: LayerSet, out: Uint8Array): number {
    const { layers, groups } = set;
    for (let index = 0; index < layers.length; index++) {
      const layer = layers[index] as EncoderLayer;
      if (!layer.isDue()) continue;
      const isSpread = layer.isHeadSpread;
      const group = layer.take();
      const length = this.write(set, index, group, out);
      this.cover(layer, groups, group, isSpread);
      groups.release(group);
      return length;
    }
    return 0;
  }

  private cover(layer: EncoderLayer, groups: Groups, group: number, isSpread: boolean): void {
    const first = groups.first[group] as number;
    const count = groups.count[group] as number;
    this.coverage.cover(first, layer.interleave, count);
    if (isSpread) this.spread.cover(first, layer.interleave, count);
  }

  private write({ headers, groups }: LayerSet, layer: number, group: number, out: Uint8Array) {
    const header = headers[layer] as LayeredRepair;
    header.first = groups.first[group] as number;
    header.count = groups.count[group] as number;
    const bytes = groups.symbolBytes[group] as number;
    out.set(groups.blocks.makeRepair(group, layeredRepair, header, bytes));
    return layeredRepair.size + bytes;
  }
}

/** Everything that depends on the parameters. */
class LayerSet {
  readonly parameters: LayeredParameters;
  readonly groups: Groups;
  readonly layers: readonly EncoderLayer[];
  /** One header per layer, written again for each repair. */
  readonly headers: readonly LayeredRepair[];
  /** Ids between a packet and the last repair that covers it, at most. */
  readonly span: number;

  constructor(parameters: LayeredParameters) {
    checkParameters(parameters);
    this.parameters = parameters;
    const { r, interleave } = parameters;
    const capacities = interleave.map((bins) => EncoderLayer.capacity(r, bins));
    const groups = new Groups(capacities.reduce((sum, capacity) => sum + capacity, 0));
    this.groups = groups;
    this.layers = interleave.map((bins) => new EncoderLayer(r, bins, groups));
    const fresh = { kind: REPAIR.layered, layers: interleave.length, r, first: 0, count: 0 };
    this.headers = interleave.map((stride, layer) => ({ ...fresh, layer, stride }));
    // A bin fills within r rounds, and no layer's queue lasts longer than r packets an entry.
    this.span = r * Math.max(0, ...capacities) + 2 * horizonPackets(parameters);
  }
}
