/** The redundancy model against simulated deaths: no more may be lost than it says. */
import { describe, expect, it } from "vitest";
import { DEFAULT_CODE, type LossEstimate } from "../../gateway/core/code/code.ts";
import { LayeredRisk } from "../../gateway/core/code/layered-risk.ts";
import { FIRST_COPY_STRIDES } from "../../gateway/core/code/risk-model.ts";
import { LossProcess } from "../../netem/core/loss.ts";
import { Prng } from "../../lib/prng.ts";
import { type Cell, describeCell, GRID, judgeCell } from "./fec-grid.ts";

const SEED = 20091;
/** Each cell of the grid takes its turn when the grid is run by command: `npm run sim -- fec`. */
const EVERY = 23;
const QUICK_PACKETS = 12_000;
const PACKETS = 60_000;
const DEFAULT_LINKS: readonly (readonly [loss: number, burst: number, flushEvery: number])[] = [
  [0.01, 1, Infinity],
  [0.05, 1, Infinity],
  [0.05, 8, Infinity],
  [0.02, 32, Infinity],
  [0.05, 1, 1],
  [0.05, 8, 333],
];

function expectWithinModel(cell: Cell, packets: number): void {
  const { classes, findings } = judgeCell(cell, SEED, packets);
  expect(classes.size).toBeGreaterThan(0);
  const tooFew = findings.filter(({ isTooCareful }) => !isTooCareful);
  expect(tooFew, `seed ${SEED}, ${describeCell(cell)}`).toEqual([]);
}

describe("what a dead site's receiver cannot rebuild stays within the model", () => {
  it.each(DEFAULT_LINKS)(
    "of the default code: %f lost in bursts of %i, flushed every %d",
    (...at) => {
      const [loss, burst, flushEvery] = at;
      expectWithinModel({ code: DEFAULT_CODE, link: { loss, burst }, flushEvery }, PACKETS);
    },
  );
  const cells = GRID.filter((_, index) => index % EVERY === 0);
  it.each(cells.map((cell) => [describeCell(cell), cell] as const))("of %s", (_, cell) => {
    expectWithinModel(cell, QUICK_PACKETS);
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
