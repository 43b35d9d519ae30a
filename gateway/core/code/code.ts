/**
 * The erasure code behind one interface: what the transport and the appliance know of it.
 *
 * Data packets are numbered by the caller, one after the other (32 bits, wrapping). The encoder sees
 * each as it leaves and says which repair packets are due; the decoder sees what arrives and gives
 * back what was rebuilt. Both are synchronous, own all their memory, and allocate nothing per packet.
 */

/** Longest data packet that can enter a code, bytes. */
export const MAX_PACKET_BYTES = 1472;

/** Each repair is the XOR of some packets; groups of several layers overlap (Maelstrom). */
export interface LayeredParameters {
  readonly kind: "layered";
  /** Data packets per group. */
  readonly r: number;
  /**
   * Interleave of each layer, ascending; as many layers as repairs per group (c = length). Empty:
   * no repairs; who waits for safety gets copies, or waits for the acknowledgement.
   */
  readonly interleave: readonly number[];
}

/** Each repair is a random linear combination of the latest packets (RFC 8681). */
export interface SlidingWindowParameters {
  readonly kind: "sliding-window";
  /** For `r` data packets `c` repairs leave, evenly spread. */
  readonly r: number;
  readonly c: number;
  /** The latest packets that a repair is made of (W). */
  readonly window: number;
  /**
   * Share of all but the newest of them that enter it, in sixteenths: what is left out costs no
   * time (RFC 8681 §3.4).
   */
  readonly density: number;
}

/** Blocks of k packets with m repairs, any k of which give all (Reed–Solomon). */
export interface BlockParameters {
  readonly kind: "block";
  readonly k: number;
  readonly m: number;
  /** Blocks filled in turn, so that a burst meets each of them less. */
  readonly interleave: number;
}

export type CodeParameters = LayeredParameters | SlidingWindowParameters | BlockParameters;

/** Table 2 of the SMFS paper; interleave from the Maelstrom example. */
export const DEFAULT_CODE: LayeredParameters = {
  kind: "layered",
  r: 8,
  interleave: [1, 10, 100],
};

export interface Encoder {
  /** Bytes a repair packet of any kind needs at most for data packets of `dataBytes`. */
  repairBytes(dataBytes: number): number;
  /** Data packet `id` leaves now. `id` follows the one before. */
  push(id: number, packet: Uint8Array, nowMicros: number): void;
  /** Writes the next repair that is due into `out`; its length, or 0 when none is due. */
  poll(out: Uint8Array, nowMicros: number): number;
  /** When `poll` has something without further `push` (idle flush); Infinity for never. */
  nextTimeoutMicros(): number;
  /** Makes due now what is still missing of the repairs for `id` or earlier (a waiter's deadline). */
  flushThrough(id: number, nowMicros: number): void;
  /**
   * Last id such that it and all before it have reached `level` by repairs that `poll` has given
   * out. The id before the first (as u32) while there is none. Levels, from 1 to `levelsOf` the
   * parameters, are steps of protection: layers of a layered code, numbers of repairs of the others.
   */
  coveredThrough(level: number): number;
  /**
   * As `coveredThrough`, counting only repairs that left when it was their turn, and so keep a
   * distance from their data that short bursts do not span; flushed ones left earlier (`risk.ts`).
   */
  spreadThrough(level: number): number;
  /**
   * Ids through `id` were acknowledged: they no longer hold back `coveredThrough` (packets from
   * before a change of parameters) and `spreadThrough` (packets whose repairs were flushed).
   */
  release(id: number): void;
  /** Of any kind. What is pending leaves first: `poll` is drained before they change again. */
  setParameters(parameters: CodeParameters, nowMicros: number): void;
  readonly parameters: CodeParameters;
}

/** Takes repairs of every kind and any parameters, without being told before. */
export interface Decoder {
  /** A data packet arrived. False when it was already there (duplicate, or rebuilt before). */
  handleData(id: number, packet: Uint8Array): boolean;
  /** A repair packet arrived. Malformed ones are refused and counted. */
  handleRepair(repair: Uint8Array): void;
  /** The next rebuilt packet, valid until the next call of any method; null for none. */
  pollRebuilt(): { readonly id: number; readonly packet: Uint8Array } | null;
  readonly statistics: {
    readonly rebuilt: number;
    /** Repairs that were not needed, or came too late. */
    readonly unused: number;
    readonly malformed: number;
  };
}

/** What the link does to packets, as the receiver measured it (before repair). */
export interface LossEstimate {
  /** Share of packets lost, upper confidence bound. */
  readonly loss: number;
  /** Mean length of a run of lost packets, ≥ 1, upper confidence bound. */
  readonly burst: number;
}
