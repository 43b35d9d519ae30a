/** The limits of the codes' parameters, and what follows from parameters for those who use them. */
import { SmfsError } from "../../../lib/errors.ts";
import type {
  BlockParameters,
  CodeParameters,
  LayeredParameters,
  SlidingWindowParameters,
} from "./code.ts";

/** Layers of a code. Each data packet is in one group of every layer. */
export const MAX_LAYERS = 8;
/** Members of a group: `count` is one byte. */
const MAX_GROUP = 255;
/** r × interleave: packets that one group spans, bounded so that receivers can hold a window of it. */
export const MAX_SPAN = 8192;
/** Packets that one repair of a sliding window, or all blocks in turn, span: the solver's columns. */
export const MAX_LINEAR_SPAN = 512;
/** Density of a repair that all packets of the window enter. */
export const FULL_DENSITY = 16;
/** Data and repairs of a block: each has its own element of GF(256) (Cauchy). */
export const MAX_BLOCK = 256;

/** Numbers of repairs that are told apart in levels of protection, where repairs are alike. */
const LEVEL_STEPS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192];
/** Levels of protection that any code has at most. */
export const MAX_LEVELS = LEVEL_STEPS.length;

/** Throws `SmfsError` CONFIG, naming the limit, when no encoder can work with these parameters. */
export function checkParameters(parameters: CodeParameters): void {
  switch (parameters.kind) {
    case "layered":
      return checkLayered(parameters);
    case "sliding-window":
      return checkSlidingWindow(parameters);
    case "block":
      return checkBlock(parameters);
  }
}

function checkLayered({ r, interleave }: LayeredParameters): void {
  require(isWithin(r, 1, MAX_GROUP), `r must be a whole number from 1 to ${MAX_GROUP}`);
  require(isWithin(
    interleave.length,
    0,
    MAX_LAYERS,
  ), `a code has 0 (no repairs) to ${MAX_LAYERS} layers, not ${interleave.length}`);
  let previous = 0;
  for (const bins of interleave) {
    require(isWithin(
      bins,
      previous + 1,
      MAX_SPAN,
    ), `interleaves must be whole, ascending and at most ${MAX_SPAN}`);
    previous = bins;
  }
  require(r * previous <= MAX_SPAN, `r × the largest interleave must be at most ${MAX_SPAN}`);
}

function checkSlidingWindow({ r, c, window, density }: SlidingWindowParameters): void {
  require(isWithin(r, 1, MAX_GROUP), `r must be a whole number from 1 to ${MAX_GROUP}`);
  require(isWithin(c, 1, MAX_GROUP), `c must be a whole number from 1 to ${MAX_GROUP}`);
  require(isWithin(
    window,
    1,
    MAX_LINEAR_SPAN,
  ), `the window must be a whole number from 1 to ${MAX_LINEAR_SPAN}`);
  require(isWithin(
    density,
    1,
    FULL_DENSITY,
  ), `the density must be a whole number from 1 to ${FULL_DENSITY}`);
}

function checkBlock({ k, m, interleave }: BlockParameters): void {
  const areWhole = [k, m, interleave].every((value) => isWithin(value, 1, MAX_LINEAR_SPAN));
  require(areWhole, "k, m and the interleave must be whole numbers from 1");
  require(k + m <= MAX_BLOCK && k < MAX_BLOCK, `k + m must be at most ${MAX_BLOCK}`);
  require(k * interleave <=
    MAX_LINEAR_SPAN, `k × the interleave must be at most ${MAX_LINEAR_SPAN}`);
}

function isWithin(value: number, low: number, high: number): boolean {
  return Number.isInteger(value) && value >= low && value <= high;
}

function require(holds: boolean, message: string): void {
  if (!holds) throw new SmfsError("CONFIG", `erasure code: ${message}`);
}

/** Ids between a packet and the last repair that covers it when it is its turn. */
export function horizonPackets(parameters: CodeParameters): number {
  switch (parameters.kind) {
    case "layered":
      // A group spans r rounds, closes staggered, and serves its delay.
      return (parameters.r + 2) * Math.max(0, ...parameters.interleave);
    case "sliding-window":
      return parameters.window;
    case "block":
      return parameters.k * parameters.interleave;
  }
}

/** Ids that one group of the sparsest layer, a window or all blocks in turn span. */
export function depthPackets(parameters: CodeParameters): number {
  return parameters.kind === "layered"
    ? parameters.r * Math.max(0, ...parameters.interleave)
    : horizonPackets(parameters);
}

/** By level of protection from 1: how many repairs of a packet must have left. */
export function repairsByLevel(parameters: CodeParameters): readonly number[] {
  switch (parameters.kind) {
    case "layered":
      return parameters.interleave.map((_, layer) => layer + 1);
    case "sliding-window":
      // As many as every packet surely gets while it is in the window.
      return stepsTo(Math.floor((parameters.window * parameters.c) / parameters.r));
    case "block":
      return stepsTo(parameters.m);
  }
}

export function levelsOf(parameters: CodeParameters): number {
  return repairsByLevel(parameters).length;
}

/** The level that a packet has at least when everything partial was flushed. */
export function flushedLevelOf(parameters: CodeParameters): number {
  const levels = repairsByLevel(parameters);
  if (parameters.kind !== "sliding-window") return levels.length;
  return levels.filter((repairs) => repairs <= parameters.c).length;
}

function stepsTo(most: number): number[] {
  if (most === 0) return [];
  const steps = LEVEL_STEPS.filter((step) => step < most);
  return [...steps.slice(0, LEVEL_STEPS.length - 1), Math.min(most, LEVEL_STEPS.at(-1) ?? most)];
}
