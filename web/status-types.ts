/**
 * What `GET /status.json` answers: one site, or for a demo several and the path between them.
 *
 * Units are in the names. Counts are since the process began and only grow, so that readers make
 * rates of them. `null` is "not known" or "there is none"; it is never written as 0.
 */

/** Raised when a field changes its meaning or goes; new fields do not raise it. */
export const STATUS_SCHEMA_VERSION = 1;

export interface SiteStatus {
  readonly schemaVersion: typeof STATUS_SCHEMA_VERSION;
  readonly role: "primary" | "mirror";
  /** A name for people. */
  readonly site: string;
  /** One word, such as `running`, `promoting`, `stopping`. */
  readonly state: string;
  readonly uptimeSeconds: number;
  readonly store: StoreStatus;
  /** `null` when this site is not mounted. */
  readonly mount: { readonly point: string; readonly readOnly: boolean } | null;
  readonly sync: SyncStatus;
  /** `null` when no mirror is configured. */
  readonly mirror: MirrorStatus | null;
  /** `null` when there is no association. */
  readonly network: NetworkStatus | null;
  /** Acknowledgement latency, for each level that somebody waited for. */
  readonly latencyMillis: Partial<Record<SyncLevelName, LatencyStatus>>;
  readonly throughput: ThroughputStatus;
  /** The scrub that runs, or the last one; `null`: none since the process began. */
  readonly scrub: ScrubStatus | null;
  /** `null` at a mirror. */
  readonly cleaner: CleanerStatus | null;
}

export interface CleanerStatus {
  readonly rounds: number;
  readonly cleanedSegments: number;
  /** File data that was written again. */
  readonly movedBytes: number;
  /** Stored blocks found damaged while cleaning. */
  readonly damagedBlocks: number;
  /** Segments that could not be emptied: they are kept as they are. */
  readonly setAsideSegments: number;
  /** Share of the log that is alive. */
  readonly utilisation: number;
  /** Bytes appended to the log per byte written to files, since the start; null: none was written. */
  readonly writeAmplification: number | null;
  /** Operations that waited for space, for how long together, and those that were refused. */
  readonly gateWaits: number;
  readonly gateWaitSeconds: number;
  readonly gateRefusals: number;
  /** Operations that wait now. */
  readonly waiting: number;
  /** What went wrong last; null: nothing. */
  readonly trouble: string | null;
}

export type SyncLevelName = "written" | "local" | "network" | "remote";

export interface ScrubStatus {
  readonly state: "running" | "finished" | "stopped" | "failed";
  /** Of this scrub: bytes of the log's files, and records that did not verify. */
  readonly scrubbedBytes: number;
  readonly totalBytes: number;
  readonly damaged: number;
  readonly repaired: number;
  /** Of all scrubs since the process began. */
  readonly scrubbedBytesTotal: number;
  readonly damagedTotal: number;
  readonly repairedTotal: number;
}

export interface StoreStatus {
  readonly path: string;
  readonly logId: string;
  readonly epoch: number;
  /** Sequence of the last record appended; written to the device; durable on it. */
  readonly headSequence: number;
  readonly writtenSequence: number;
  readonly durableSequence: number;
  readonly segments: number;
  readonly segmentsSealed: number;
  /** Removed because nothing referred to them any more, and the bytes of their records. */
  readonly segmentsDropped: number;
  readonly droppedBytes: number;
  /** Why nothing more is acknowledged, or why a mirror shows nothing newer; null: all is well. */
  readonly failure: string | null;
  /** Room of the store's device, and what is free of it. */
  readonly totalBytes: number;
  readonly freeBytes: number;
  /**
   * Of the log: its files; what the file system refers to; what is dead in segments that snapshots
   * need; what cleaning would give back.
   */
  readonly logBytes: number;
  readonly liveBytes: number;
  readonly pinnedBytes: number;
  readonly reclaimableBytes: number;
  readonly inodes: number;
  /** Bytes of file data that are live. */
  readonly dataBytes: number;
  /** Most of each that there may be; null: no limit. */
  readonly quotaBytes: number | null;
  readonly quotaInodes: number | null;
  readonly snapshots: number;
}

interface SyncStatus {
  /** What each kind of operation waits for. */
  readonly floor: SyncLevelName;
  readonly fsync: SyncLevelName;
  readonly dataSync: SyncLevelName;
  readonly osync: SyncLevelName;
  readonly onUnreachable: "block" | "eio" | "degrade";
  /** Operations answered at `local` because their level could not be reached; and that failed. */
  readonly degraded: number;
  readonly failed: number;
}

export interface MirrorStatus {
  readonly peer: string;
  /** One word, such as `connected`, `connecting`, `refused`. */
  readonly state: string;
  /** Age of the oldest record that is not durable at the mirror; 0: none; null: never known. */
  readonly lagSeconds: number | null;
  /** Bytes in this log that the mirror has not acknowledged. */
  readonly notAtMirrorBytes: number;
  readonly acknowledgedSequence: number;
  /** Records streamed since the process began: sent by a primary, received by a mirror. */
  readonly recordsStreamed: number;
  /** Why the state is not `connected`, a sentence. */
  readonly reason: string | null;
}

export interface NetworkStatus {
  readonly datagramsSent: number;
  readonly dataPackets: number;
  readonly repairPackets: number;
  /** Of our data packets, as the peer reports: lost before repair, rebuilt, beyond repair. */
  readonly lost: number;
  readonly rebuilt: number;
  readonly unrecoverable: number;
  /** Of the peer's data packets, rebuilt here. */
  readonly rebuiltHere: number;
  readonly datagramsReceived: number;
  /** Failed authentication, malformed, replayed. */
  readonly rejectedDatagrams: number;
  readonly retransmitted: number;
  readonly roundTripMillis: number;
  /** Share of packets lost, upper bound; mean run of losses in packets, upper bound. */
  readonly lossEstimate: number;
  readonly burstEstimate: number;
  readonly paceBitsPerSecond: number;
  /** The code in use: for so many data packets, so many repairs, spread over so many ids. */
  readonly codeDataPackets: number;
  readonly codeRepairPackets: number;
  readonly codeSpanPackets: number;
  /** Repairs for each data packet. */
  readonly codeOverhead: number;
  readonly codeChanges: number;
  /** Risk that `network` accepts: that something acknowledged cannot be rebuilt. */
  readonly targetRisk: number;
  readonly bytesSent: number;
}

export interface LatencyStatus {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

interface ThroughputStatus {
  readonly writeBytesTotal: number;
  readonly readBytesTotal: number;
  readonly operationsTotal: number;
}

/** One direction of an emulated path, in packets; `bytes` is what was delivered. */
interface WanDirectionStatus {
  readonly sent: number;
  readonly delivered: number;
  readonly lost: number;
  readonly overflowed: number;
  readonly duplicated: number;
  readonly reordered: number;
  readonly cut: number;
  readonly bytes: number;
  readonly inFlight: number;
}

export interface WanStatus {
  readonly aToB: WanDirectionStatus;
  readonly bToA: WanDirectionStatus;
}

export interface SitesStatus {
  readonly sites: readonly SiteStatus[];
  /** `null` when the path is not an emulated one of ours. */
  readonly wan: WanStatus | null;
}

export type StatusDocument = SiteStatus | SitesStatus;
