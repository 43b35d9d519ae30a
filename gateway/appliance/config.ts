/** What a gateway is configured with, checked, in plain numbers; `cli/gateway-config.ts` reads it. */
import type { AdaptationBounds } from "../core/code/adaptation.ts";
import type { CodeParameters } from "../core/code/code.ts";
import type { KeySource } from "../udp/keys.ts";
import type { GatewayMode } from "./settings.ts";

export interface PeerConfig {
  readonly name: string;
  /** host:port; exactly one of `listen` and `peer` is not null. */
  readonly listen: string | null;
  readonly peer: string | null;
  readonly key: KeySource;
  readonly prefixes: readonly string[];
  readonly rateBitsPerSecond: number;
  readonly targetRisk: number;
  readonly code: CodeParameters;
  readonly adapt: AdaptationBounds | null;
  readonly datagramBytes: number;
  /** How long a TCP packet may wait for one before it. */
  readonly holdMicros: number;
}

export interface GatewayConfig {
  readonly mode: GatewayMode;
  /** Name of the TUN device; the WAN interface in transparent mode. */
  readonly interfaceName: string;
  /** Of the TUN device, with their bits. */
  readonly addresses: readonly string[];
  /** Set routes to the peers' prefixes (transparent: their MTU). */
  readonly routes: boolean;
  readonly clampMss: boolean;
  readonly offload: boolean;
  /** Transparent: packets kept from each peer. */
  readonly windowPackets: number;
  /** Unix sockets. */
  readonly controlSocket: string;
  readonly flowSocket: string;
  readonly peers: readonly PeerConfig[];
}
