/** Laws of the erasure code: whatever happens to packets, nothing wrong is ever rebuilt. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CodeParameters } from "../../gateway/core/code/code.ts";
import { ErasureDecoder } from "../../gateway/core/code/decoder.ts";
import { ErasureEncoder } from "../../gateway/core/code/encoder.ts";
import { repairsByLevel } from "../../gateway/core/code/parameters.ts";
import { membersOf } from "../../gateway/core/code/repair-members.ts";
import type { Members } from "../../gateway/core/code/repair-solver.ts";
import { equalBytes } from "../../lib/bytes.ts";
import { Prng } from "../../lib/prng.ts";

const IDLE_MICROS = 1000;
const CODES: CodeParameters[] = [
  { kind: "layered", r: 8, interleave: [1, 10, 100] },
  { kind: "layered", r: 3, interleave: [1, 4] },
  { kind: "layered", r: 1, interleave: [1] },
  { kind: "layered", r: 5, interleave: [2, 7, 16, 40] },
  { kind: "sliding-window", r: 8, c: 3, window: 64, density: 16 },
  { kind: "sliding-window", r: 3, c: 4, window: 17, density: 5 },
  { kind: "sliding-window", r: 8, c: 3, window: 512, density: 1 },
  { kind: "block", k: 8, m: 3, interleave: 1 },
  { kind: "block", k: 5, m: 20, interleave: 7 },
];

const code = fc.constantFrom(...CODES);
const firstId = fc.constantFrom(0, 7, 0x7ffffff0, 0xfffffff0);
const action = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant("push"), n: fc.integer({ min: 1, max: 60 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("idle"), n: fc.constant(0) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("flush"), n: fc.integer({ min: 0, max: 90 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("change"), n: fc.nat(CODES.length - 1) }) },
);
const actions = fc.array(action, { minLength: 1, maxLength: 25 });

interface Item {
  /** −1 for a repair. */
  readonly id: number;
  readonly bytes: Uint8Array;
}

/** A sender under test, and beside it the simplest possible account of what covers what. */
class Sender {
  readonly wire: Item[] = [];
  readonly packets = new Map<number, Uint8Array>();
  private readonly encoder: ErasureEncoder;
  /** Repairs that had each packet as a member, or could have had it. */
  private readonly repairsOf = new Map<number, number>();
  private readonly firstId: number;
  private readonly prng: Prng;
  private readonly out = new Uint8Array(1500);
  private sent = 0;
  private now = 0;
  /** Ids from before the last change of kind hold all marks. */
  private hasChangedKind = false;

  constructor(parameters: CodeParameters, first: number, seed: number) {
    this.encoder = new ErasureEncoder({ parameters, idleMicros: IDLE_MICROS });
    this.firstId = first;
    this.prng = new Prng(seed);
  }

  run(step: { do: string; n: number }): void {
    if (step.do === "push") for (let i = 0; i < step.n; i++) this.push();
    if (step.do === "idle") this.idle();
    if (step.do === "flush") this.encoder.flushThrough(this.idOf(this.sent - 1 - step.n), this.now);
    if (step.do === "change") this.change(CODES[step.n] as CodeParameters);
    this.drain();
  }

  idle(): void {
    const timeout = this.encoder.nextTimeoutMicros();
    if (timeout === Infinity) return;
    this.now = Math.max(this.now, timeout);
    this.drain();
    expect(this.encoder.nextTimeoutMicros()).toBe(Infinity);
  }

  /** What `coveredThrough` must say, counted packet by packet. */
  expectExactCoverage(): void {
    if (this.hasChangedKind) return;
    const { parameters } = this.encoder;
    for (const [index, repairs] of repairsByLevel(parameters).entries()) {
      let n = 0;
      while (n < this.sent && (this.repairsOf.get(this.idOf(n)) ?? 0) >= repairs) n++;
      const expected = this.sent === 0 ? 0xffffffff : this.idOf(n - 1);
      expect(this.encoder.coveredThrough(index + 1)).toBe(expected);
    }
  }

  private change(parameters: CodeParameters): void {
    const { kind } = this.encoder.parameters;
    if (kind !== parameters.kind || kind !== "layered") this.hasChangedKind = true;
    this.encoder.setParameters(parameters, this.now);
  }

  private idOf(n: number): number {
    return (this.firstId + n) >>> 0;
  }

  private push(): void {
    const id = this.idOf(this.sent++);
    const room = this.prng.fill(new Uint8Array(this.prng.below(70) + 4));
    // Any alignment, any length, now and then the longest.
    const packet = this.prng.chance(0.01)
      ? this.prng.fill(new Uint8Array(1472))
      : room.subarray(this.prng.below(4));
    this.packets.set(id, packet);
    this.repairsOf.set(id, 0);
    this.encoder.push(id, packet, ++this.now);
    this.wire.push({ id, bytes: packet });
    this.drain();
  }

  private drain(): void {
    const { encoder, out } = this;
    for (let n = encoder.poll(out, this.now); n > 0; n = encoder.poll(out, this.now)) {
      expect(n).toBeLessThanOrEqual(encoder.repairBytes(1472));
      this.wire.push({ id: -1, bytes: out.slice(0, n) });
      const { first, count, stride } = membersOf(out.subarray(0, n)) as Members;
      for (let k = 0; k < count; k++) {
        const id = (first + k * stride) >>> 0;
        expect(this.packets.has(id)).toBe(true);
        this.repairsOf.set(id, (this.repairsOf.get(id) ?? 0) + 1);
      }
      this.expectExactCoverage();
    }
  }
}

/** Loss, duplication and reordering by up to `distance` places. */
function disturb(wire: readonly Item[], seed: number, loss: number, distance: number): Item[] {
  const prng = new Prng(seed);
  const placed = wire.flatMap((item, at) => {
    const copies = prng.chance(loss) ? 0 : prng.chance(0.05) ? 2 : 1;
    return Array.from({ length: copies }, () => ({ item, at: at + prng.below(distance + 1) }));
  });
  return placed.toSorted((a, b) => a.at - b.at).map(({ item }) => item);
}

/** Feeds a decoder; every rebuilt packet must be the original. Ids it has at the end. */
function receive(
  items: readonly Item[],
  packets: ReadonlyMap<number, Uint8Array>,
  windowPackets = 2048,
  limit = 2048,
): Set<number> {
  const decoder = new ErasureDecoder({
    windowPackets,
    maxWindowPackets: Math.max(windowPackets, limit),
    waitingRepairs: 64,
  });
  const have = new Set<number>();
  for (const { id, bytes } of items) {
    if (id < 0) decoder.handleRepair(bytes);
    else if (decoder.handleData(id, bytes)) have.add(id);
    for (let next = decoder.pollRebuilt(); next !== null; next = decoder.pollRebuilt()) {
      const original = packets.get(next.id);
      expect(original !== undefined && equalBytes(next.packet, original)).toBe(true);
      expect(have.has(next.id)).toBe(false);
      have.add(next.id);
    }
  }
  // A window too small for the code refuses its widest groups.
  if (limit >= 2048) expect(decoder.statistics.malformed).toBe(0);
  expect(decoder.statistics.inconsistentRepairs).toBe(0);
  return have;
}

describe("encoder and decoder", () => {
  it("rebuild only what was sent, byte for byte, under loss, reordering and duplication", () => {
    const network = fc.record({
      loss: fc.constantFrom(0, 0.01, 0.1, 0.4),
      distance: fc.constantFrom(0, 3, 40, 300),
      windowPackets: fc.constantFrom(64, 256, 2048),
      /** What it may grow to. */
      limit: fc.constantFrom(64, 2048, 8192),
    });
    fc.assert(
      fc.property(code, firstId, actions, fc.nat(), network, (c, first, steps, seed, net) => {
        const sender = new Sender(c, first, seed);
        for (const step of steps) sender.run(step);
        sender.idle();
        const arriving = disturb(sender.wire, seed + 1, net.loss, net.distance);
        const have = receive(arriving, sender.packets, net.windowPackets, net.limit);
        if (net.loss === 0 && net.limit >= 2048) expect(have.size).toBe(sender.packets.size);
      }),
      { numRuns: 60 },
    );
  });

  it("give back any one lost packet once the sender has fallen silent", () => {
    fc.assert(
      fc.property(code, firstId, actions, fc.nat(), fc.nat(), (c, first, steps, seed, which) => {
        const sender = new Sender(c, first, seed);
        for (const step of steps) sender.run(step);
        sender.idle();
        const ids = [...sender.packets.keys()];
        const lost = ids[which % Math.max(1, ids.length)];
        const have = receive(
          sender.wire.filter((item) => item.id !== lost),
          sender.packets,
        );
        expect(have.size).toBe(ids.length);
      }),
      { numRuns: 60 },
    );
  });
});

describe("a decoder under attack", () => {
  it("neither throws nor grows on random bytes and mutated repairs, and counts them", () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const prng = new Prng(seed);
        const sender = new Sender(CODES[0] as CodeParameters, 0, seed);
        for (let i = 0; i < 5; i++) sender.run({ do: "push", n: 50 });
        const decoder = new ErasureDecoder({ windowPackets: 512, waitingRepairs: 16 });
        let handed = 0;
        for (const { id, bytes } of sender.wire) {
          if (id >= 0 && prng.chance(0.9))
            decoder.handleData(prng.chance(0.02) ? prng.u32() : id, bytes);
          if (id < 0) decoder.handleRepair(mutate(bytes, prng));
          decoder.handleRepair(prng.fill(new Uint8Array(prng.below(40))));
          handed++;
          for (let next = decoder.pollRebuilt(); next !== null; next = decoder.pollRebuilt()) {
            expect(next.packet.length).toBeLessThanOrEqual(1472);
          }
        }
        expect(decoder.statistics.malformed).toBeGreaterThan(handed / 2);
      }),
      { numRuns: 40 },
    );
  });
});

function mutate(bytes: Uint8Array, prng: Prng): Uint8Array {
  const copy = bytes.slice(0, prng.chance(0.2) ? prng.below(bytes.length) : bytes.length);
  for (let i = 0; i < 2 && copy.length > 0; i++)
    copy[prng.below(Math.min(16, copy.length))] = prng.u32();
  return copy;
}
