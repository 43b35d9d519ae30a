/** A site's status document, from what its parts say of themselves. */
import { toHex } from "../../lib/bytes.ts";
import {
  STATUS_SCHEMA_VERSION,
  type MirrorStatus,
  type NetworkStatus,
  type SiteStatus,
  type StoreStatus,
} from "../../web/status-types.ts";
import { limitOf } from "../quota-report.ts";
import type { MirrorSite } from "./mirror.ts";
import type { PrimarySite } from "./primary.ts";
import type { Site } from "./site.ts";
import { describeCleaner } from "./trim.ts";

export function describeSite(site: Site, latencyMillis: SiteStatus["latencyMillis"]): SiteStatus {
  const { role, config, registry } = site;
  const { floor, fsync, dataSync, osync } = role?.role === "primary" ? role.sync : config.mount;
  const levels = { floor, fsync, dataSync, osync };
  const commits = role?.role === "primary" ? role.committer.statistics : undefined;
  const counters = role?.fileSystem?.statistics;
  return {
    schemaVersion: STATUS_SCHEMA_VERSION,
    role: registry.role,
    site: registry.path,
    state: failureOf(role) === null ? site.state : "failed",
    uptimeSeconds: (Date.now() - site.startedMillis) / 1000,
    store: describeStore(site),
    cleaner: role?.role === "primary" ? describeCleaner(role) : null,
    mount:
      site.mount === null
        ? null
        : { point: site.mount.mountpoint, readOnly: role?.role !== "primary" },
    sync: {
      ...levels,
      onUnreachable: config.mount.onUnreachable,
      degraded: commits?.degraded ?? 0,
      failed: commits?.failed ?? 0,
    },
    scrub: site.scrub.status,
    mirror: role === null ? null : describeMirror(site, role),
    network: describeNetwork(site),
    latencyMillis,
    throughput: {
      writeBytesTotal: counters?.writtenBytes ?? 0,
      readBytesTotal: counters?.readBytes ?? 0,
      operationsTotal: Object.values(counters?.operations ?? {}).reduce(
        (sum, count) => sum + count,
        0,
      ),
    },
  };
}

function describeStore({ registry, role }: Site): StoreStatus {
  const log = role?.log ?? null;
  const space = role?.store?.space() ?? { totalBytes: 0, freeBytes: 0 };
  const volume = role?.volume?.statistics;
  const use = role?.store ? role.volume?.measureSpace(role.store.list()) : null;
  return {
    path: registry.path,
    logId: registry.log === null ? "" : toHex(registry.log.id),
    epoch: log?.epoch ?? 0,
    headSequence: log?.head.sequence ?? 0,
    writtenSequence: log?.writtenSequence ?? 0,
    durableSequence: log?.durableSequence ?? 0,
    segments: log?.segmentCount ?? 0,
    segmentsSealed: log?.statistics.segmentsSealed ?? 0,
    segmentsDropped: log?.statistics.segmentsDropped ?? 0,
    droppedBytes: log?.statistics.bytesDropped ?? 0,
    failure: failureOf(role),
    ...space,
    logBytes: use?.usedBytes ?? 0,
    liveBytes: use?.liveBytes ?? 0,
    pinnedBytes: use?.pinnedBytes ?? 0,
    reclaimableBytes: use?.reclaimableBytes ?? 0,
    inodes: volume?.inodes ?? 0,
    dataBytes: volume?.dataBytes ?? 0,
    quotaBytes: limitOf(volume?.quota.bytes ?? 0),
    quotaInodes: limitOf(volume?.quota.inodes ?? 0),
    snapshots: role?.volume?.keptSnapshots.length ?? 0,
  };
}

/** A log that cannot write any more, or a mirror that cannot apply what it received. */
function failureOf(role: Site["role"]): string | null {
  const following = role?.role === "mirror" ? role.volume?.failure : null;
  return (role?.log?.failure ?? following)?.message ?? null;
}

function describeMirror(site: Site, role: PrimarySite | MirrorSite): MirrorStatus | null {
  const { mirror } = site.config;
  if (mirror === null || role.session === null) return null;
  const peer = mirror.peer ?? `listening on ${mirror.listen}`;
  const { state, reason } = role.session;
  const common = { peer, state, reason: reason === "" ? null : reason };
  if (role.role === "mirror") {
    const durable = role.log?.durableSequence ?? 0;
    const { recordsReceived: recordsStreamed } = role.session.statistics;
    return {
      ...common,
      lagSeconds: null,
      notAtMirrorBytes: 0,
      acknowledgedSequence: durable,
      recordsStreamed,
    };
  }
  const { session } = role;
  const lag = session?.lagMicros ?? null;
  return {
    ...common,
    lagSeconds: lag === null ? null : lag / 1e6,
    notAtMirrorBytes: session?.bytesBehind ?? 0,
    acknowledgedSequence: session?.durableSequence ?? 0,
    recordsStreamed: session?.statistics.recordsSent ?? 0,
  };
}

function describeNetwork({ link, config }: Site): NetworkStatus | null {
  if (link === null || config.mirror === null) return null;
  const { statistics } = link;
  return {
    datagramsSent: statistics.datagramsSent,
    dataPackets: statistics.dataPacketsSent,
    repairPackets: statistics.repairPacketsSent,
    lost: statistics.lostPackets,
    rebuilt: statistics.rebuiltPackets,
    unrecoverable: statistics.unrecoverablePackets,
    rebuiltHere: statistics.rebuiltHerePackets,
    datagramsReceived: statistics.datagramsReceived,
    rejectedDatagrams: statistics.rejectedDatagrams,
    retransmitted: statistics.retransmittedPackets,
    roundTripMillis: statistics.roundTripMicros / 1000,
    lossEstimate: statistics.lossEstimate,
    burstEstimate: statistics.burstEstimate,
    paceBitsPerSecond: statistics.paceBitsPerSecond,
    codeDataPackets: statistics.codeDataPackets,
    codeRepairPackets: statistics.codeRepairPackets,
    codeSpanPackets: statistics.codeSpanPackets,
    codeOverhead: statistics.codeOverhead,
    codeChanges: statistics.codeChanges,
    targetRisk: config.mirror.targetRisk,
    bytesSent: statistics.bytesSent,
  };
}
