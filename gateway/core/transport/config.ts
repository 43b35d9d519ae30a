/** What an association can be told, with the defaults and their reasons. */
import { assert } from "../../../lib/assert.ts";
import type { AdaptationBounds } from "../code/adaptation.ts";
import { type CodeParameters, DEFAULT_CODE, MAX_PACKET_BYTES } from "../code/code.ts";
import { SEALED_OVERHEAD_BYTES } from "./packets.ts";

export interface TransportConfig {
  /**
   * UDP payload of the largest datagram that is tried, bytes; what the path takes is found
   * (`path-mtu.ts`). The default leaves room for IPv6 and one tunnel.
   */
  readonly datagramBytes: number;
  /** Stream bytes kept until acknowledged: one bandwidth-delay product at 1 Gbit/s and 130 ms. */
  readonly sendBufferBytes: number;
  /** Messages that may wait for the pacer, packets: 6 ms at 1 Gbit/s, a TCP sender's bursts. */
  readonly messageQueuePackets: number;
  /** Stream bytes the receiver holds beyond what it handed on; the flow-control window. */
  readonly receiveWindowBytes: number;
  /** Of each stream but the link: its buffer here and its window at the peer, bytes. */
  readonly streamBufferBytes: number;
  /** Highest rate of everything sent, bits per second of UDP payload. */
  readonly rateBitsPerSecond: number;
  /** Acceptable probability that bytes below `safeOffset` cannot be rebuilt. */
  readonly targetRisk: number;
  /** Time between pings, microseconds. */
  readonly keepAliveMicros: number;
  /** The session is given up after this long without receiving, microseconds. */
  readonly deadAfterMicros: number;
  readonly code: CodeParameters;
  /** New session keys after so many packets in one direction … */
  readonly rekeyPackets: number;
  /** … or this long, microseconds (WireGuard's REKEY_AFTER_TIME). */
  readonly rekeyMicros: number;
  /** The code follows the link's loss within these bounds; null: it stays as configured. */
  readonly adapt: AdaptationBounds | null;
}

export const DEFAULT_CONFIG: TransportConfig = {
  datagramBytes: 1400,
  sendBufferBytes: 16 * 2 ** 20,
  messageQueuePackets: 512,
  receiveWindowBytes: 16 * 2 ** 20,
  streamBufferBytes: 4 * 2 ** 20,
  rateBitsPerSecond: 1e9,
  targetRisk: 1e-6,
  keepAliveMicros: 1_000_000,
  deadAfterMicros: 5_000_000,
  code: DEFAULT_CODE,
  rekeyPackets: 2 ** 24,
  rekeyMicros: 120_000_000,
  adapt: null,
};

/** What every receiver takes before its first ack says more: part of the protocol. */
export const INITIAL_WINDOW_BYTES = 2 ** 20;
/** RFC 791: every host takes 576-byte packets, so less is never needed. */
export const MIN_DATAGRAM_BYTES = 576;
/** The code's accumulators hold one packet of an Ethernet frame. */
export const MAX_DATAGRAM_BYTES = MAX_PACKET_BYTES + SEALED_OVERHEAD_BYTES;

/** The defaults with `overrides`; asserts what the configuration file's schema has checked. */
export function transportConfig(overrides: Partial<TransportConfig>): TransportConfig {
  const config = { ...DEFAULT_CONFIG, ...overrides };
  const { datagramBytes } = config;
  assert(
    datagramBytes >= MIN_DATAGRAM_BYTES && datagramBytes <= MAX_DATAGRAM_BYTES,
    `datagramBytes is ${datagramBytes}, not ${MIN_DATAGRAM_BYTES} to ${MAX_DATAGRAM_BYTES}`,
  );
  const least = Math.min(config.receiveWindowBytes, config.streamBufferBytes);
  assert(least >= INITIAL_WINDOW_BYTES, "the peer assumes windows of 1 MiB");
  assert(config.rateBitsPerSecond > 0, "rateBitsPerSecond is above zero");
  assert(config.targetRisk > 0 && config.targetRisk < 1, "targetRisk lies between 0 and 1");
  assert(config.keepAliveMicros < config.deadAfterMicros, "keep-alive comes before death");
  return config;
}
