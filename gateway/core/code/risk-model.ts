/**
 * What the redundancy model is asked (SMFS §3.2), whatever the code: how likely is it that a packet
 * cannot be rebuilt from what is on the wire, if the sender and the link die now?
 */

/** What has left for a packet. */
export interface Protection {
  /** Level of protection (`Encoder.coveredThrough`): layers, or numbers of repairs, that have left. */
  readonly layers: number;
  /** Level by repairs that left when it was their turn: only those stand against bursts. */
  readonly spread: number;
  /** Plain copies that left after those. */
  readonly copies: number;
  /** A copy left so many packets after the one before; the first, FIRST_COPY_STRIDES as many. */
  readonly stride: number;
  /** How many `RiskModel.spanPackets` the packet is behind the newest fully spread. */
  readonly depth: number;
}

/** Three layers of a flushed message stand between its packets and their copies. */
export const FIRST_COPY_STRIDES = 3;

/** Depths that are told apart: then the evolution has converged for any loss the code helps at. */
export const MAX_DEPTH = 3;

export interface RiskModel {
  /** Ids between two depths. */
  readonly spanPackets: number;
  /** Upper estimate of the probability that one packet is lost and cannot be rebuilt. */
  packetRisk(protection: Protection): number;
}
