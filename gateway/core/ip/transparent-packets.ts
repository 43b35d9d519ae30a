/**
 * The bare messages of the transparent mode: repairs with names, because the packets themselves
 * travel without numbers; and the other side's report of what it missed.
 */
import { f64, reserved, struct, u8, u32, u64 } from "../../../lib/codec.ts";

export const TRANSPARENT = { repair: 1, report: 2 } as const;

/**
 * Each id is named twice, far apart, so that one burst does not take both: in the next message, and
 * in one that leaves NAMED_AGAIN_AFTER packets later.
 */
export const NamedRepair = struct("named repair", {
  kind: u8("TRANSPARENT.repair"),
  fresh: u8("ids named for the first time, from freshFirst on; their names follow"),
  again: u8("ids named for the second time, from againFirst on; their names follow those"),
  zero: reserved(1),
  freshFirst: u32("id"),
  againFirst: u32("id; behind the names, perhaps, the code's repair packet"),
});

export const MemberName = struct("member name", {
  high: u32("upper half of the keyed fingerprint of the normalised packet"),
  low: u32("lower half"),
});

/** Packets between the two times that an id is named: a burst of the default code's reach. */
export const NAMED_AGAIN_AFTER = 128;
/** Names of each sort in one message. */
export const MAX_NAMES = 8;

export const TransparentReport = struct("transparent report", {
  kind: u8("TRANSPARENT.report"),
  zero: reserved(7),
  namedPackets: u64("packets named to us, so far"),
  lostPackets: u64("of these, those that did not come"),
  rebuiltPackets: u64("of these, rebuilt and put back"),
  loss: f64("share of packets lost, upper bound"),
  burst: f64("mean length of a run of lost packets, upper bound"),
});
