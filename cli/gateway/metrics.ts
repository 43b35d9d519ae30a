/** A gateway's metrics for Prometheus (names: docs/METRICS.md), read from its status at each scrape. */
import { Counter, Gauge, Registry } from "prom-client";
import type { GatewayStatus, PeerStatus } from "../../gateway/appliance/gateway.ts";

type ReadGateway = (status: GatewayStatus) => number;
type ReadPeer = (status: PeerStatus) => number;

const COUNTERS: readonly [string, string, ReadGateway][] = [
  [
    "read_packets",
    "packets taken from the device or seen at the interface",
    (s) => s.counters.packetsRead,
  ],
  ["read_bytes", "bytes of these", (s) => s.counters.bytesRead],
  ["written_packets", "packets given to the TUN device", (s) => s.counters.packetsWritten],
  ["written_bytes", "bytes of these", (s) => s.counters.bytesWritten],
  ["write_errors", "packets that the device refused", (s) => s.counters.writeErrors],
  ["unrouted_packets", "packets in no peer's prefixes", (s) => s.counters.packetsWithoutPeer],
  ["malformed_packets", "what is no IP packet", (s) => s.counters.malformedPackets],
  [
    "foreign_packets",
    "from a peer, with a source outside its prefixes",
    (s) => s.counters.foreignPackets,
  ],
  [
    "too_long_packets",
    "packets that fit no datagram, or no repair",
    (s) => s.counters.tooLongPackets,
  ],
  ["clamped_syns", "SYNs whose MSS was lowered", (s) => s.counters.clampedSyns],
  ["injected_packets", "rebuilt packets put back (transparent mode)", (s) => s.injected.injected],
  [
    "inject_errors",
    "rebuilt packets that could not be put back",
    (s) => s.injected.errors + s.injected.dropped,
  ],
  ["flows_evicted", "flows forgotten for newer ones", (s) => s.counters.flowsEvicted],
];

const GAUGES: readonly [string, string, ReadGateway][] = [
  ["flows", "TCP connections followed", (s) => s.counters.flows],
  ["subscribers", "programs that listen to flows", (s) => s.subscribers],
];

const PEER_COUNTERS: readonly [string, string, ReadPeer][] = [
  ["sent_packets", "packets sent to the peer, or protected", (p) => p.counters.packetsSent],
  [
    "refused_packets",
    "packets not sent: the queue was full, or the peer down",
    (p) => p.counters.packetsRefused,
  ],
  ["received_packets", "packets from the peer's site", (p) => p.counters.packetsReceived],
  ["rebuilt_packets", "of the peer's packets, rebuilt here", (p) => p.counters.packetsRebuiltHere],
  ["held_packets", "packets that waited for one before them", (p) => p.counters.packetsHeld],
  ["abandoned_gaps", "gaps that were not filled in time", (p) => p.counters.gapsAbandoned],
  ["fec_repair_packets", "repairs sent", (p) => p.counters.repairPacketsSent],
  [
    "fec_lost_packets",
    "our packets lost before repair, as the peer reports",
    (p) => p.counters.lostPackets,
  ],
  ["fec_recovered_packets", "of these, rebuilt there", (p) => p.counters.rebuiltPackets],
  ["fec_unrecoverable_packets", "of these, beyond repair", (p) => p.counters.unrecoverablePackets],
  ["fec_code_changes", "times that the code was changed", (p) => p.counters.codeChanges],
  ["sent_bytes", "bytes of datagrams sent", (p) => p.counters.bytesSent],
  ["rejected_datagrams", "forged, replayed, malformed", (p) => p.counters.rejectedDatagrams],
];

const PEER_GAUGES: readonly [string, string, ReadPeer][] = [
  ["up", "1 while the association is up", (p) => p.counters.isUp],
  ["round_trip_seconds", "to the peer's gateway", (p) => p.counters.roundTripMicros / 1e6],
  ["loss_ratio", "estimated loss before repair, upper bound", (p) => p.counters.lossEstimate],
  ["fec_data_packets_per_group", "r of the code in use", (p) => p.counters.codeDataPackets],
  ["fec_repairs_per_group", "c of the code in use", (p) => p.counters.codeRepairPackets],
  ["fec_span_packets", "ids that a repair spans at most", (p) => p.counters.codeSpanPackets],
  ["fec_overhead_ratio", "c / r of the code in use", (p) => p.counters.codeOverhead],
  ["pace_bits_per_second", "pace of the sender", (p) => p.counters.paceBitsPerSecond],
];

export class GatewayMetrics {
  private readonly registry = new Registry();
  private readonly status: () => GatewayStatus;

  constructor(version: string, status: () => GatewayStatus) {
    this.status = status;
    const info = new Gauge({
      name: "smfs_build_info",
      help: "1",
      labelNames: ["version"],
      registers: [this.registry],
    });
    info.set({ version }, 1);
    for (const [name, help, read] of COUNTERS)
      this.counter(`smfs_gateway_${name}_total`, help, read);
    for (const [name, help, read] of GAUGES) this.gauge(`smfs_gateway_${name}`, help, read);
    for (const [name, help, read] of PEER_COUNTERS) {
      this.peerCounter(`smfs_gateway_peer_${name}_total`, help, read);
    }
    for (const [name, help, read] of PEER_GAUGES) {
      this.peerGauge(`smfs_gateway_peer_${name}`, help, read);
    }
  }

  text(): Promise<string> {
    return this.registry.metrics();
  }

  private counter(name: string, help: string, read: ReadGateway): void {
    const { status } = this;
    const collect = function collect(this: Counter): void {
      this.reset();
      this.inc(read(status()));
    };
    this.registry.registerMetric(new Counter({ name, help, registers: [], collect }));
  }

  private gauge(name: string, help: string, read: ReadGateway): void {
    const { status } = this;
    const collect = function collect(this: Gauge): void {
      this.set(read(status()));
    };
    this.registry.registerMetric(new Gauge({ name, help, registers: [], collect }));
  }

  private peerCounter(name: string, help: string, read: ReadPeer): void {
    const { status } = this;
    const collect = function collect(this: Counter<"peer">): void {
      this.reset();
      for (const peer of status().peers) this.inc({ peer: peer.name }, read(peer));
    };
    const labelNames = ["peer"] as const;
    this.registry.registerMetric(new Counter({ name, help, labelNames, registers: [], collect }));
  }

  private peerGauge(name: string, help: string, read: ReadPeer): void {
    const { status } = this;
    const collect = function collect(this: Gauge<"peer">): void {
      this.reset();
      for (const peer of status().peers) this.set({ peer: peer.name }, read(peer));
    };
    const labelNames = ["peer"] as const;
    this.registry.registerMetric(new Gauge({ name, help, labelNames, registers: [], collect }));
  }
}
