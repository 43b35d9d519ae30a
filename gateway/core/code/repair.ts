/**
 * Repair packets: the recipe of what a repair is made of, then the combination of the members'
 * symbols (`blocks.ts`) as far as the longest goes. The first byte says of which kind it is.
 *
 * Members are the data packets `first + n × stride` for 0 ≤ n < `count`, ids wrapping at 2^32. So a
 * receiver solves for what it misses without knowing anything of the sender's parameters: those
 * travel for the size of its window, for people and for meters.
 */
import { struct, u16, u32, u8, type Infer } from "../../../lib/codec.ts";
import { MAX_SYMBOL_BYTES, symbolHeader } from "./blocks.ts";
import { FULL_DENSITY, MAX_BLOCK, MAX_LAYERS, MAX_LINEAR_SPAN, MAX_SPAN } from "./parameters.ts";

export const REPAIR = { layered: 1, slidingWindow: 2, block: 3 } as const;

/** The symbols' XOR. */
export const layeredRepair = struct("layered repair", {
  kind: u8("REPAIR.layered"),
  layer: u8("index of the layer, from 0 (the densest)"),
  layers: u8("layers of the sender's code (c), 1 to 8"),
  r: u8("members of a full group in the sender's code, 1 to 255"),
  count: u16("members of this group, 1 to r; fewer than r when it was flushed"),
  stride: u32("distance between members' ids, at least 1"),
  first: u32("id of the first member"),
});
export type LayeredRepair = Infer<typeof layeredRepair>;

/** The symbols' sum, each multiplied by `randomCoefficient(seed, count − 1 − n, density)`. */
export const slidingWindowRepair = struct("sliding window repair", {
  kind: u8("REPAIR.slidingWindow"),
  r: u8("the sender's code has c repairs for r data packets; at least 1"),
  c: u8("at least 1"),
  density: u8("share of all but the newest 16 members that are in it, in sixteenths, 1 to 16"),
  window: u16("latest packets in a repair of the sender's code, 1 to 512"),
  count: u16("members of this repair, neighbours, 1 to window"),
  seed: u16("of the coefficients"),
  first: u32("id of the first member"),
});
export type SlidingWindowRepair = Infer<typeof slidingWindowRepair>;

/** The symbols' sum, each multiplied by `cauchyCoefficient(index, n)` in GF(256). */
export const blockRepair = struct("block repair", {
  kind: u8("REPAIR.block"),
  k: u8("data packets of a full block, at least 1"),
  m: u8("repairs of a block, at least 1; k + m at most 256"),
  index: u8("which of them this is, from 0"),
  count: u16("members of this block, 1 to k; fewer than k when it was flushed"),
  stride: u32("distance between members' ids, at least 1; k × stride at most 512"),
  first: u32("id of the first member"),
});
export type BlockRepair = Infer<typeof blockRepair>;

/**
 * Of every kind alike, bytes: what a block keeps free before its symbol. So full datagrams have one length
 * whatever the code, and leave in one message that the kernel cuts.
 */
export const REPAIR_HEADER_BYTES = slidingWindowRepair.size;

/** Whether as many bytes can stand behind a header. */
export function isPlausiblePayload(bytes: number): boolean {
  return bytes >= symbolHeader.size && bytes <= MAX_SYMBOL_BYTES;
}

/** Whether a header can have come from an encoder. */
export function isPlausibleLayered(header: LayeredRepair): boolean {
  return (
    header.layers <= MAX_LAYERS &&
    header.layer < header.layers &&
    header.count >= 1 &&
    header.count <= header.r &&
    header.stride >= 1 &&
    header.r * header.stride <= MAX_SPAN
  );
}

export function isPlausibleSlidingWindow(header: SlidingWindowRepair): boolean {
  return (
    header.r >= 1 &&
    header.c >= 1 &&
    header.density >= 1 &&
    header.density <= FULL_DENSITY &&
    header.window <= MAX_LINEAR_SPAN &&
    header.count >= 1 &&
    header.count <= header.window
  );
}

export function isPlausibleBlock(header: BlockRepair): boolean {
  return (
    header.k + header.m <= MAX_BLOCK &&
    header.index < header.m &&
    header.count >= 1 &&
    header.count <= header.k &&
    header.stride >= 1 &&
    header.k * header.stride <= MAX_LINEAR_SPAN
  );
}
