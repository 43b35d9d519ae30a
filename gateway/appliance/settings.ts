/**
 * What the data plane is told: plain values, checked before, that go to its thread by message.
 * Whatever can fail (names, files, sockets, devices) has been done by the thread that sends them.
 */
import type { TransportConfig } from "../core/transport/config.ts";
import type { Credentials } from "../core/transport/credentials.ts";

export type GatewayMode = "tunnel" | "transparent";

export interface PeerSettings {
  /** As in the configuration; unique. */
  readonly name: string;
  /** A bound UDP socket that never waits. */
  readonly socket: number;
  /** Where that socket is bound. */
  readonly localPort: number;
  /** Kernel's sockaddr of the peer when this side calls; null: it is called. */
  readonly remote: Uint8Array | null;
  readonly key: Credentials;
  /** Of the peer's site: "10.2.0.0/16". */
  readonly prefixes: readonly string[];
  readonly transport: Partial<TransportConfig>;
  /** Packets of TCP wait so long for a rebuilt one before them, microseconds; 0: not at all. */
  readonly holdMicros: number;
  /** Place of its counters in the statistics. */
  readonly place: number;
}

interface TunSettings {
  readonly descriptor: number;
  readonly name: string;
  readonly headerBytes: number;
}

interface CommonSettings {
  readonly peers: readonly PeerSettings[];
  /** Lower the MSS of SYNs to what the tunnel carries. */
  readonly clampMss: boolean;
}

export interface TunnelSettings extends CommonSettings {
  readonly mode: "tunnel";
  readonly tun: TunSettings;
}

export interface TransparentSettings extends CommonSettings {
  readonly mode: "transparent";
  /** A packet socket on the interface towards the WAN, packets from their IP header on. */
  readonly capture: number;
  /** Packets kept from each peer (the paper's K). */
  readonly windowPackets: number;
}

export type DataPlaneSettings = TunnelSettings | TransparentSettings;

/** Peers of one gateway. */
export const MAX_PEERS = 64;
