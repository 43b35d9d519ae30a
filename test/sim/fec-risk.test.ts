/** The redundancy model against simulated deaths: no more may be lost than it says. */
import { describe, expect, it } from "vitest";
import {
  type LayeredParameters,
  DEFAULT_CODE,
  type LossEstimate,
} from "../../gateway/core/code.ts";
import { LayeredRisk } from "../../gateway/core/layered-risk.ts";
import { FIRST_COPY_STRIDES } from "../../gateway/core/risk-model.ts";
import { LossProcess } from "../../netem/core/loss.ts";
import { Prng } from "../../lib/prng.ts";
import { simulateDeaths } from "./fec-deaths.ts";

const SEED = 20091;
const PACKETS = 80_000;
const NEVER = Infinity;

interface Case {
  readonly loss: number;
  readonly burst: number;
  readonly flushEvery: number;
  readonly code?: LayeredParameters;
}
const CASES: readonly Case[] = [
  { loss: 0.001, burst: 1, flushEvery: NEVER },
  { loss: 0.01, burst: 1, flushEvery: NEVER },
  { loss: 0.05, burst: 1, flushEvery: NEVER },
  { loss: 0.01, burst: 2, flushEvery: NEVER },
  { loss: 0.05, burst: 4, flushEvery: NEVER },
  { loss: 0.05, burst: 8, flushEvery: NEVER },
  { loss: 0.02, burst: 32, flushEvery: NEVER },
  { loss: 0.05, burst: 1, flushEvery: 1 },
  { loss: 0.05, burst: 2, flushEvery: 1 },
  { loss: 0.05, burst: 8, flushEvery: 1 },
  { loss: 0.05, burst: 4, flushEvery: 4 },
  { loss: 0.05, burst: 1, flushEvery: 333 },
  { loss: 0.05, burst: 8, flushEvery: 333 },
  { loss: 0.05, burst: 1, flushEvery: NEVER, code: { kind: "layered", r: 4, interleave: [1, 8] } },
  { loss: 0.05, burst: 4, flushEvery: 20, code: { kind: "layered", r: 4, interleave: [1, 8] } },
  {
    loss: 0.05,
    burst: 2,
    flushEvery: NEVER,
    code: { kind: "layered", r: 8, interleave: [1, 4, 16, 64] },
  },
];

describe("what a dead site's receiver cannot rebuild stays within the model", () => {
  it.each(CASES)("$loss lost in bursts of $burst, flushed every $flushEvery", (setting) => {
    const code = setting.code ?? DEFAULT_CODE;
    const model = new LayeredRisk(code, setting);
    const classes = simulateDeaths(code, setting, model, {
      seed: SEED,
      packets: PACKETS,
      flushEvery: setting.flushEvery,
    });
    expect(classes.size).toBeGreaterThan(0);
    for (const [name, { packets, lost, predicted }] of classes) {
      // Each loss is seen by up to three deaths and comes with its burst: so many count as one.
      const cluster = 3 * (2 * setting.burst - 1);
      const noise = 4 * Math.sqrt(predicted * cluster) + 4 * cluster;
      expect(lost, `seed ${SEED}, class ${name}, ${packets} packets`).toBeLessThanOrEqual(
        predicted + noise,
      );
    }
  });
});

describe("the redundancy model", () => {
  const link: LossEstimate = { loss: 0.01, burst: 1 };
  const full = { layers: 3, spread: 3, copies: 0, stride: 1, depth: 0 };
  const risk = (over: Partial<typeof full>, at: LossEstimate = link) =>
    new LayeredRisk(DEFAULT_CODE, at).packetRisk({ ...full, ...over });

  it("gives an unprotected packet the risk of its loss", () => {
    expect(risk({ layers: 0, spread: 0 })).toBe(0.01);
  });
  it("falls with each layer, copy and step of depth", () => {
    const falling = [
      ...[0, 1, 2, 3].map((layers) => risk({ layers, spread: layers })),
      risk({ depth: 1 }),
      risk({ depth: 1, copies: 1 }),
    ];
    expect(falling).toEqual(falling.toSorted((a, b) => b - a));
    expect(new Set(falling).size).toBe(falling.length);
  });
  it("stays below one loss in a million with three layers at 1 % independent loss", () => {
    expect(risk({})).toBeLessThan(2e-6);
    expect(risk({ depth: 3 })).toBeLessThan(1e-7);
  });
  it("trusts flushed repairs less than spread ones under bursts, and no less without", () => {
    const bursts = { loss: 0.01, burst: 8 };
    expect(risk({ spread: 0 }, bursts)).toBeGreaterThan(10 * risk({}, bursts));
    expect(risk({ spread: 0 })).toBe(risk({}));
  });
  it("counts cycles: two layers at 5 % left 395 of two million packets missing", () => {
    const model = new LayeredRisk(
      { kind: "layered", r: 4, interleave: [1, 8] },
      { loss: 0.05, burst: 1 },
    );
    const deep = model.packetRisk({ layers: 2, spread: 2, copies: 0, stride: 1, depth: 3 });
    expect(deep).toBeGreaterThan(395 / 2e6);
    expect(deep).toBeLessThan(2 * (395 / 2e6));
  });
  it.each([1, 2, 4, 8])(
    "copies at a stride of %i fail together no more often than it says",
    (stride) => {
      const bursts: LossEstimate = { loss: 0.05, burst: 3 };
      const draws = 2_000_000;
      const losses = new LossProcess(
        { kind: "bursts", share: 0.05, meanPackets: 3 },
        new Prng(stride),
      );
      const lost = Uint8Array.from({ length: draws }, () => (losses.next() ? 1 : 0));
      const first = stride === 1 ? 1 : FIRST_COPY_STRIDES * stride;
      const places = [0, first, first + stride, first + 2 * stride];
      let all = 0;
      for (let i = 0; i < draws - 40; i++) if (places.every((at) => lost[i + at] === 1)) all++;
      const said = risk({ layers: 0, spread: 0, copies: 3, stride }, bursts);
      expect(all).toBeGreaterThan(0);
      expect(all / draws).toBeLessThan(said);
      expect(said, "far too careful").toBeLessThan(40 * (all / draws));
    },
  );
  it("does not count a layer that shares members with a denser one", () => {
    const model = new LayeredRisk({ kind: "layered", r: 8, interleave: [1, 2] }, link);
    const one = model.packetRisk({ layers: 1, spread: 1, copies: 0, stride: 1, depth: 0 });
    expect(model.packetRisk({ layers: 2, spread: 2, copies: 0, stride: 1, depth: 0 })).toBe(one);
  });
});
