/**
 * The erasure code behind one interface: what the transport and the appliance know of it.
 *
 * Data packets are numbered by the caller, one after the other (32 bits, wrapping). The encoder sees
 * each as it leaves and says which repair packets are due; the decoder sees what arrives and gives
 * back what was rebuilt. Both are synchronous, own all their memory, and allocate nothing per packet.
 */

/** Longest data packet that can enter a code, bytes. */
export const MAX_PACKET_BYTES = 1472;

export interface CodeParameters {
  /** Data packets per group. */
  readonly r: number;
  /**
   * Interleave of each layer, ascending; as many layers as repairs per group (c = length). Empty:
   * no repairs; who waits for safety gets copies, or waits for the acknowledgement.
   */
  readonly interleave: readonly number[];
}

/** Table 2 of the SMFS paper; interleave from the Maelstrom example. */
export const DEFAULT_CODE: CodeParameters = { r: 8, interleave: [1, 10, 100] };

export interface Encoder {
  /** Bytes a repair packet needs at most for data packets of `dataBytes`. */
  repairBytes(dataBytes: number): number;
  /** Data packet `id` leaves now. `id` follows the one before. */
  push(id: number, packet: Uint8Array, nowMicros: number): void;
  /** Writes the next repair that is due into `out`; its length, or 0 when none is due. */
  poll(out: Uint8Array, nowMicros: number): number;
  /** When `poll` has something without further `push` (idle flush); Infinity for never. */
  nextTimeoutMicros(): number;
  /** Makes every partial group that covers `id` or earlier due now (a waiter's deadline). */
  flushThrough(id: number, nowMicros: number): void;
  /**
   * Last id such that it and all before it are covered by repairs of at least `layers` different
   * layers that `poll` has given out. −1 (as u32: 0xffffffff) before the first.
   */
  coveredThrough(layers: number): number;
  /**
   * As `coveredThrough`, counting only repairs that had served their delay and so keep a distance
   * from their data that short bursts do not span; flushed ones left earlier (see `risk.ts`).
   */
  spreadThrough(layers: number): number;
  /**
   * Ids through `id` were acknowledged: they no longer hold back `coveredThrough` (packets from
   * before a change to more layers) and `spreadThrough` (packets whose repairs were flushed).
   */
  release(id: number): void;
  setParameters(parameters: CodeParameters, nowMicros: number): void;
  readonly parameters: CodeParameters;
}

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
