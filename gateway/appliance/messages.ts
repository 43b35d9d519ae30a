/** What the data plane's thread and the control thread say to one another. */
import type { DataPlaneSettings } from "./settings.ts";

export type ToDataPlane =
  | { readonly kind: "settings"; readonly settings: DataPlaneSettings }
  /** Somebody subscribes to flows, or nobody any more. */
  | { readonly kind: "flows"; readonly isWanted: boolean }
  | { readonly kind: "stop" };

/** How a flow stands; `ended` when it is no more. */
export interface FlowUpdate {
  readonly peer: string;
  /** Counts flows since the gateway began; one connection, one number. */
  readonly number: number;
  /** "10.1.0.2:40000" */
  readonly local: string;
  readonly remote: string;
  /** False: offsets count from the first byte that was seen. */
  readonly isFromStart: boolean;
  /** Bytes that passed, without a hole. */
  readonly passed: number;
  readonly acknowledged: number;
  /** By level: bytes covered. Level 0: left; n: repairs of n layers left, too. */
  readonly covered: readonly number[];
  /** By level: probability that a packet with this protection cannot be had, if all ends now. */
  readonly risks: readonly number[];
  readonly ended: string | null;
}

export type FromDataPlane =
  | { readonly kind: "ready" }
  | { readonly kind: "up"; readonly peer: string; readonly packetBytes: number }
  /** The path takes other lengths now. */
  | { readonly kind: "resized"; readonly peer: string; readonly packetBytes: number }
  | { readonly kind: "down"; readonly peer: string; readonly code: string; readonly reason: string }
  | { readonly kind: "address"; readonly peer: string; readonly address: string }
  | { readonly kind: "flows"; readonly updates: readonly FlowUpdate[] }
  /** Rebuilt packets to be put back: each to the address that it names. */
  | { readonly kind: "inject"; readonly packets: readonly Uint8Array[] }
  | { readonly kind: "stopped" }
  | { readonly kind: "failed"; readonly message: string };
