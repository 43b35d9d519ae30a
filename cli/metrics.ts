/**
 * A site's metrics for Prometheus (names: docs/METRICS.md). Counters that the parts keep themselves
 * are read from the site's status when they are scraped; only latencies are observed as they happen.
 */
import { Counter, Gauge, Registry, Summary } from "prom-client";
import type { SyncLevel } from "../logfs/core/vfs.ts";
import type { CommitOutcome } from "../mirror/core/commit.ts";
import type { LatencyStatus, SiteStatus, SyncLevelName } from "../web/status-types.ts";

/** Latencies older than this no longer count in the percentiles. */
const LATENCY_WINDOW_SECONDS = 60;

type Read = (status: SiteStatus) => number | null | undefined;

const GAUGES: readonly [string, string, Read][] = [
  [
    "smfs_mirror_lag_seconds",
    "age of the oldest record not yet at the mirror",
    (s) => s.mirror?.lagSeconds,
  ],
  [
    "smfs_mirror_outofsync_bytes",
    "log bytes not yet at the mirror",
    (s) => s.mirror?.notAtMirrorBytes,
  ],
  ["smfs_log_segments", "segments of the log", (s) => s.store.segments],
  ["smfs_log_head_sequence", "newest record", (s) => s.store.headSequence],
  ["smfs_log_durable_sequence", "newest record on stable storage", (s) => s.store.durableSequence],
  ["smfs_store_free_bytes", "free space of the store's device", (s) => s.store.freeBytes],
  ["smfs_fs_inodes", "inodes in use", (s) => s.store.inodes],
  ["smfs_fs_data_bytes", "bytes of file data", (s) => s.store.dataBytes],
  ["smfs_fs_quota_bytes", "most bytes of file data", (s) => s.store.quotaBytes],
  ["smfs_fs_quota_inodes", "most inodes", (s) => s.store.quotaInodes],
  [
    "smfs_scrub_progress_ratio",
    "of the scrub that runs, or the last one",
    (s) => (s.scrub === null ? null : s.scrub.scrubbedBytes / Math.max(1, s.scrub.totalBytes)),
  ],
  ["smfs_snapshots", "snapshots that are kept", (s) => s.store.snapshots],
  ["smfs_cleaner_utilisation_ratio", "share of the log alive", (s) => s.cleaner?.utilisation],
  [
    "smfs_cleaner_write_amplification_ratio",
    "bytes appended to the log per byte written to files",
    (s) => s.cleaner?.writeAmplification,
  ],
  ["smfs_cleaner_waiting", "operations that wait for space", (s) => s.cleaner?.waiting],
  [
    "smfs_cleaner_setaside_segments",
    "segments that cannot be emptied",
    (s) => s.cleaner?.setAsideSegments,
  ],
  [
    "smfs_link_round_trip_seconds",
    "round trip to the peer",
    (s) => millis(s.network?.roundTripMillis),
  ],
  ["smfs_link_loss_ratio", "estimated packet loss, upper bound", (s) => s.network?.lossEstimate],
  ["smfs_fec_data_packets_per_group", "r of the code in use", (s) => s.network?.codeDataPackets],
  ["smfs_fec_repairs_per_group", "c of the code in use", (s) => s.network?.codeRepairPackets],
  ["smfs_fec_span_packets", "ids that a repair spans at most", (s) => s.network?.codeSpanPackets],
  ["smfs_fec_overhead_ratio", "c / r of the code in use", (s) => s.network?.codeOverhead],
  ["smfs_link_pace_bits_per_second", "pace of the sender", (s) => s.network?.paceBitsPerSecond],
];

const COUNTERS: readonly [string, string, Read][] = [
  ["smfs_mirror_sent_bytes_total", "bytes sent to the peer", (s) => s.network?.bytesSent],
  ["smfs_fec_data_packets_total", "data packets sent", (s) => s.network?.dataPackets],
  ["smfs_fec_repair_packets_total", "repair packets sent", (s) => s.network?.repairPackets],
  ["smfs_fec_lost_packets_total", "data packets lost before repair", (s) => s.network?.lost],
  ["smfs_fec_recovered_packets_total", "data packets rebuilt", (s) => s.network?.rebuilt],
  ["smfs_fec_unrecoverable_packets_total", "beyond repair", (s) => s.network?.unrecoverable],
  ["smfs_fec_code_changes_total", "changes of the code", (s) => s.network?.codeChanges],
  [
    "smfs_link_retransmitted_packets_total",
    "data packets sent again",
    (s) => s.network?.retransmitted,
  ],
  ["smfs_log_segments_sealed_total", "segments completed", (s) => s.store.segmentsSealed],
  ["smfs_log_segments_dropped_total", "dead segments removed", (s) => s.store.segmentsDropped],
  ["smfs_log_dropped_bytes_total", "bytes of dead segments removed", (s) => s.store.droppedBytes],
  ["smfs_cleaner_segments_total", "segments emptied", (s) => s.cleaner?.cleanedSegments],
  ["smfs_cleaner_moved_bytes_total", "file data written again", (s) => s.cleaner?.movedBytes],
  [
    "smfs_cleaner_damaged_blocks_total",
    "stored blocks found damaged while cleaning",
    (s) => s.cleaner?.damagedBlocks,
  ],
  ["smfs_cleaner_waits_total", "operations that waited for space", (s) => s.cleaner?.gateWaits],
  [
    "smfs_cleaner_wait_seconds_total",
    "time that they waited, together",
    (s) => s.cleaner?.gateWaitSeconds,
  ],
  [
    "smfs_cleaner_refusals_total",
    "operations refused for space by the cleaner's gate",
    (s) => s.cleaner?.gateRefusals,
  ],
  ["smfs_scrub_bytes_total", "bytes read by scrubs", (s) => s.scrub?.scrubbedBytesTotal],
  ["smfs_scrub_damaged_total", "records that did not verify", (s) => s.scrub?.damagedTotal],
  ["smfs_scrub_repaired_total", "of those, repaired", (s) => s.scrub?.repairedTotal],
  ["smfs_fs_written_bytes_total", "bytes written to files", (s) => s.throughput.writeBytesTotal],
  ["smfs_fs_read_bytes_total", "bytes read from files", (s) => s.throughput.readBytesTotal],
  ["smfs_fs_operations_total", "file system operations", (s) => s.throughput.operationsTotal],
];

export class SiteMetrics {
  private readonly registry = new Registry();
  private readonly latency: Summary<"mode">;
  private readonly commits: Counter<"mode" | "result">;
  private readonly longestMicros = new Map<SyncLevel, number>();

  constructor(version: string, status: () => SiteStatus) {
    const registers = [this.registry];
    const info = new Gauge({
      name: "smfs_build_info",
      help: "1",
      labelNames: ["version"],
      registers,
    });
    info.set({ version }, 1);
    for (const [name, help, read] of GAUGES) this.gauge(name, help, () => read(status()));
    for (const [name, help, read] of COUNTERS) this.counter(name, help, () => read(status()));
    this.mirrorState(status);
    this.latency = new Summary({
      name: "smfs_commit_latency_seconds",
      help: "time from the record's append to the level that the operation waited for",
      labelNames: ["mode"],
      percentiles: [0.5, 0.99],
      maxAgeSeconds: LATENCY_WINDOW_SECONDS,
      // Each observation goes into all of them, and costs some 4 µs in each.
      ageBuckets: 2,
      registers,
    });
    this.commits = new Counter({
      name: "smfs_commits_total",
      help: "operations that waited for a level, by outcome",
      labelNames: ["mode", "result"],
      registers,
    });
  }

  observeCommit(level: SyncLevel, result: CommitOutcome, micros: number): void {
    this.commits.inc({ mode: level, result });
    if (result !== "ok") return;
    this.latency.observe({ mode: level }, micros / 1e6);
    this.longestMicros.set(level, Math.max(this.longestMicros.get(level) ?? 0, micros));
  }

  text(): Promise<string> {
    return this.registry.metrics();
  }

  /** p50 and p99 over the last minute, count and maximum since the start. */
  async latencies(): Promise<Partial<Record<SyncLevelName, LatencyStatus>>> {
    const { values } = await this.latency.get();
    const result: Partial<Record<SyncLevelName, LatencyStatus>> = {};
    for (const [level, longest] of this.longestMicros) {
      const mine = values.filter((value) => value.labels.mode === level);
      const at = (quantile: number): number =>
        (mine.find(({ labels }) => quantileOf(labels) === quantile)?.value ?? 0) * 1000;
      const count = mine.find((value) => value.metricName?.endsWith("_count"))?.value ?? 0;
      result[level] = { count, p50: at(0.5), p99: at(0.99), max: longest / 1000 };
    }
    return result;
  }

  private gauge(name: string, help: string, read: () => number | null | undefined): void {
    const gauge = new Gauge({
      name,
      help,
      registers: [],
      collect() {
        const value = read();
        if (typeof value === "number") this.set(value);
        else this.reset();
      },
    });
    this.registry.registerMetric(gauge);
  }

  private counter(name: string, help: string, read: () => number | null | undefined): void {
    const counter = new Counter({
      name,
      help,
      registers: [],
      collect() {
        this.reset();
        this.inc(read() ?? 0);
      },
    });
    this.registry.registerMetric(counter);
  }

  private mirrorState(status: () => SiteStatus): void {
    const gauge = new Gauge({
      name: "smfs_mirror_state",
      help: "1 for the state that the mirror connection is in",
      labelNames: ["peer", "state"],
      registers: [],
      collect() {
        this.reset();
        const { mirror } = status();
        if (mirror !== null) this.set({ peer: mirror.peer, state: mirror.state }, 1);
      },
    });
    this.registry.registerMetric(gauge);
  }
}

function millis(value: number | undefined): number | undefined {
  return value === undefined ? undefined : value / 1000;
}

/** prom-client adds this label itself; its types do not know. */
function quantileOf(labels: Partial<Record<string, string | number>>): string | number | undefined {
  return labels["quantile"];
}
