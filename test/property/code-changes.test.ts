/**
 * `safeOffset` keeps its promise while codes change: lives of a sender and a lossy wire without the
 * transport around them. What the receiver can rebuild from what has left is held against the claim.
 */
import { describe, expect, it } from "vitest";
import { CodeControl, codeLevels } from "../../gateway/core/transport/code-control.ts";
import type { CodeParameters } from "../../gateway/core/code/code.ts";
import { transportConfig } from "../../gateway/core/transport/config.ts";
import { makeCounters } from "../../gateway/core/transport/counters.ts";
import { ErasureDecoder } from "../../gateway/core/code/decoder.ts";
import { ErasureEncoder } from "../../gateway/core/code/encoder.ts";
import { Flight } from "../../gateway/core/transport/flight.ts";
import { depthPackets } from "../../gateway/core/code/parameters.ts";
import { Safety } from "../../gateway/core/transport/safety.ts";
import { Prng } from "../../lib/prng.ts";

const LENGTH = 40;
/** Nothing is declared lost by time, and nothing by count: acknowledgements come late. */
const RULE = { horizonPackets: 20_000, horizonMicros: Infinity };

const LAYERED: readonly CodeParameters[] = [
  { kind: "layered", r: 40, interleave: [1] },
  { kind: "layered", r: 8, interleave: [1, 10] },
  { kind: "layered", r: 4, interleave: [1, 6, 40] },
  { kind: "layered", r: 3, interleave: [1, 3, 9, 27] },
];
const ALL: readonly CodeParameters[] = [
  ...LAYERED,
  { kind: "sliding-window", r: 32, c: 1, window: 128, density: 16 },
  { kind: "sliding-window", r: 8, c: 2, window: 64, density: 16 },
  { kind: "sliding-window", r: 4, c: 3, window: 96, density: 16 },
];

interface LifeOptions {
  readonly seed: number;
  readonly loss: number;
  readonly targetRisk: number;
  readonly codes: readonly CodeParameters[];
}

/** A sender, the wire and the receiver's decoder, in steps of one packet. */
class Life {
  changes = 0;
  private readonly prng: Prng;
  private readonly options: LifeOptions;
  private readonly flight: Flight;
  private readonly safety: Safety;
  private readonly encoder: ErasureEncoder;
  private readonly control: CodeControl;
  private readonly counters = makeCounters(1e9);
  private readonly decoder = new ErasureDecoder();
  private readonly had = new Set<number>();
  private readonly out = new Uint8Array(2048);
  private readonly packet = new Uint8Array(LENGTH);
  private nowMicros = 0;

  constructor(options: LifeOptions) {
    this.options = options;
    this.prng = new Prng(options.seed);
    const code = this.someCode();
    const config = transportConfig({ code, targetRisk: options.targetRisk });
    this.flight = new Flight(() => this.safety);
    this.encoder = new ErasureEncoder({ parameters: code, idleMicros: 1e12 });
    const levels = codeLevels(code);
    this.safety = new Safety(this.flight, levels, options.targetRisk, () => undefined);
    this.control = new CodeControl(config, this.encoder, this.safety, this.counters);
    this.control.setLink({ loss: options.loss, burst: 1 }, 0);
  }

  private someCode(): CodeParameters {
    const { codes } = this.options;
    return codes[this.prng.below(codes.length)] as CodeParameters;
  }

  private get arrives(): boolean {
    return !this.prng.chance(this.options.loss);
  }

  step(): void {
    this.nowMicros += 100;
    const { flight, prng } = this;
    const id = flight.sendNew(0, flight.nextId * LENGTH, LENGTH, this.nowMicros);
    this.safety.noteSent(id);
    this.packet.fill(id & 255);
    this.encoder.push(id, this.packet, this.nowMicros);
    if (this.arrives) this.take(id);
    if (prng.chance(0.01)) this.encoder.flushThrough(id, this.nowMicros);
    if (prng.chance(0.01)) this.control.change(this.someCode());
    this.drain();
    if (this.control.noteDrained(this.nowMicros)) this.drain();
    this.noteLeft();
    if (prng.chance(0.01)) this.acknowledge(flight.nextId - prng.below(200));
    this.changes = this.counters.codeChanges;
  }

  /** The code changes as soon as it can, and what is partial leaves. */
  change(code: CodeParameters): void {
    this.control.change(code);
    this.control.noteDrained(this.nowMicros);
    this.drain();
    this.noteLeft();
  }

  private take(id: number): void {
    this.had.add(id);
    this.decoder.handleData(id, this.packet);
    this.takeRebuilt();
  }

  private takeRebuilt(): void {
    for (let next = this.decoder.pollRebuilt(); next !== null; next = this.decoder.pollRebuilt()) {
      expect(next.packet[0]).toBe(next.id & 255);
      this.had.add(next.id);
    }
  }

  private drain(): void {
    for (;;) {
      const length = this.encoder.poll(this.out, this.nowMicros);
      if (length === 0) return;
      this.safety.noteRepairSent();
      if (!this.arrives) continue;
      this.decoder.handleRepair(this.out.subarray(0, length));
      this.takeRebuilt();
    }
  }

  private noteLeft(): void {
    const { encoder } = this;
    this.safety.noteLeft(this.flight.nextId, {
      coveredEnd: (level) => (encoder.coveredThrough(level) + 1) >>> 0,
      spreadEnd: (level) => (encoder.spreadThrough(level) + 1) >>> 0,
      spanPackets: depthPackets(encoder.parameters),
    });
  }

  /** What the receiver has below `end` is acknowledged; what it misses is taken as delivered late. */
  private acknowledge(end: number): void {
    if (end <= 0) return;
    for (let id = this.flight.settledId; id < end; id++) this.had.add(id);
    this.flight.acknowledgeBelow(end);
    this.flight.acknowledgeThrough(0, end * LENGTH);
    this.flight.settle(RULE, this.nowMicros);
    this.encoder.release((this.flight.settledId - 1) >>> 0);
    this.safety.advance();
  }

  /** Packets that the claim is ahead of the acknowledgements, and whether it holds. */
  claim(): { readonly ahead: number; readonly isKept: boolean } {
    const end = this.safety.safeOffset / LENGTH;
    let isKept = true;
    for (let id = 0; id < end; id++) if (!this.had.has(id)) isKept = false;
    return { ahead: Math.max(0, end - this.flight.settledId), isKept };
  }
}

/** Share of moments of death at which what was claimed could not be had. */
function brokenShare(codes: readonly CodeParameters[], lives: number, options: { loss: number }) {
  const targetRisk = 0.05;
  let broken = 0;
  let ahead = 0;
  let changes = 0;
  for (let seed = 1; seed <= lives; seed++) {
    const life = new Life({ seed, targetRisk, codes, ...options });
    const steps = 200 + new Prng(seed).below(1200);
    for (let n = 0; n < steps; n++) life.step();
    const claim = life.claim();
    if (!claim.isKept) broken++;
    if (claim.ahead > 0) ahead++;
    changes += life.changes;
  }
  return { share: broken / lives, ahead: ahead / lives, changes, limit: targetRisk };
}

describe("what was claimed when the sender died can be had, though the code changed", () => {
  it.each([
    ["layers", LAYERED, 0.02, 200],
    ["layers, bad link", LAYERED, 0.06, 200],
    ["both kinds", ALL, 0.02, 80],
    ["both kinds, bad link", ALL, 0.06, 80],
  ] as const)("%s", (_name, codes, loss, lives) => {
    const { share, ahead, changes, limit } = brokenShare(codes, lives, { loss });
    expect(changes).toBeGreaterThan(2 * lives);
    // Otherwise the test shows nothing.
    expect(ahead).toBeGreaterThan(0.2);
    expect(share).toBeLessThanOrEqual(limit + 3 * Math.sqrt(limit / lives));
  });
});

it("packets of a weak code are not judged by the strong one that follows", () => {
  const weak: CodeParameters = { kind: "layered", r: 20, interleave: [1] };
  const strong: CodeParameters = { kind: "layered", r: 2, interleave: [1, 2, 4, 8] };
  const lives = 300;
  const targetRisk = 0.01;
  let broken = 0;
  for (let seed = 1; seed <= lives; seed++) {
    const life = new Life({ seed, targetRisk, codes: [weak], loss: 0.04 });
    for (let n = 0; n < 20; n++) life.step();
    life.change(strong);
    if (!life.claim().isKept) broken++;
  }
  expect(broken / lives).toBeLessThanOrEqual(targetRisk + 3 * Math.sqrt(targetRisk / lives));
});
