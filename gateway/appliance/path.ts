/** What the data plane's loop knows of a mode, and a mode of the loop. */
import type { Answers } from "../core/transport/answers.ts";
import type { FlowFeed } from "./flow-feed.ts";
import type { Peer, Tell } from "./peer.ts";
import type { DataPlaneSettings } from "./settings.ts";
import type { GatewayCounters } from "./statistics.ts";

export interface PathContext {
  readonly tell: Tell;
  readonly feed: FlowFeed;
  readonly counters: GatewayCounters;
  /** What strangers and replays may cost, over all sockets. */
  readonly answers: Answers;
  /** Random, for hash tables. */
  readonly seed: number;
}

/** Where packets come from and go to: the TUN device, or the WAN interface that is listened to. */
export interface Path {
  /** Readable when packets wait. */
  readonly descriptor: number;
  /** Nothing more is read until a peer's queue has room. */
  readonly isBlocked: boolean;
  readonly peers: readonly Peer[];
  /** Peers come, go and change; those that stay keep their sessions. The mode stays. */
  apply(settings: DataPlaneSettings, nowMicros: number): void;
  /** Takes packets. True when it stopped before all were taken. */
  read(nowMicros: number): boolean;
  /** What has arrived by now goes on its way; called after each batch of datagrams. */
  flush(): void;
  handleTimeout(nowMicros: number): void;
  nextTimeoutMicros(): number;
}
