/**
 * The repair packet: the recipe of what it covers, then the XOR of the members' bytes.
 *
 * Members are the data packets `first + k × stride` for 0 ≤ k < `count`, ids wrapping at 2^32. Each
 * member is taken as padded with zeros to the longest; the repair's payload has that length. So a
 * receiver that has all members but one rebuilds it, its length included, without knowing anything
 * of the sender's parameters: those travel for people and meters.
 */
import { SmfsError } from "../../lib/errors.ts";
import { struct, u16, u32, u8, type Infer } from "../../lib/codec.ts";
import { MAX_PACKET_BYTES, type CodeParameters } from "./code.ts";

/** Layers of a code. Each data packet is in one group of every layer. */
export const MAX_LAYERS = 8;
/** Members of a group: `count` is one byte. */
export const MAX_GROUP = 255;
/** r × interleave: packets that one group spans, bounded so that receivers can hold a window of it. */
export const MAX_SPAN = 8192;

export const repairHeader = struct("RepairHeader", {
  layer: u8("index of the layer, from 0 (the densest)"),
  layers: u8("layers of the sender's code (c), 1 to 8"),
  r: u8("members of a full group in the sender's code, 1 to 255"),
  count: u8("members of this group, 1 to r; fewer than r when it was flushed"),
  stride: u16("distance between members' ids, at least 1"),
  lengthXor: u16("XOR of the members' lengths in bytes"),
  first: u32("id of the first member"),
});
export type RepairHeader = Infer<typeof repairHeader>;

/** Whether a header can have come from an encoder, with `payloadBytes` behind it. */
export function isPlausible(header: RepairHeader, payloadBytes: number): boolean {
  return (
    header.layers <= MAX_LAYERS &&
    header.layer < header.layers &&
    header.count >= 1 &&
    header.count <= header.r &&
    header.stride >= 1 &&
    header.r * header.stride <= MAX_SPAN &&
    payloadBytes <= MAX_PACKET_BYTES
  );
}

/** Throws `SmfsError` CONFIG, naming the limit, when no encoder can work with these parameters. */
export function checkParameters({ r, interleave }: CodeParameters): void {
  require(isWithin(r, 1, MAX_GROUP), `r must be a whole number from 1 to ${MAX_GROUP}`);
  require(isWithin(
    interleave.length,
    0,
    MAX_LAYERS,
  ), `a code has 0 (no repairs) to ${MAX_LAYERS} layers, not ${interleave.length}`);
  let previous = 0;
  for (const bins of interleave) {
    require(isWithin(bins, previous + 1, MAX_SPAN), "interleaves must be whole and ascending");
    previous = bins;
  }
  require(r * previous <= MAX_SPAN, `r × the largest interleave must be at most ${MAX_SPAN}`);
}

function isWithin(value: number, low: number, high: number): boolean {
  return Number.isInteger(value) && value >= low && value <= high;
}

function require(holds: boolean, message: string): void {
  if (!holds) throw new SmfsError("CONFIG", `erasure code: ${message}`);
}
