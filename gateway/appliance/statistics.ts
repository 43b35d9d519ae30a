/**
 * The data plane's counters in shared memory: its thread writes, the control thread reads when it is
 * asked. One row of 64-bit floats for the gateway, one for each peer. A reader may see a row half
 * written: counters are told apart from one another by no more than one turn of the loop.
 */
import { MAX_PEERS } from "./settings.ts";

/** Of the gateway: what passed its device or packet socket. */
const GATEWAY_COUNTERS = [
  "packetsRead",
  "bytesRead",
  "packetsWritten",
  "bytesWritten",
  "packetsWithoutPeer",
  "malformedPackets",
  "foreignPackets",
  "tooLongPackets",
  "tooBigAnswers",
  "clampedSyns",
  "writeErrors",
  "wakeups",
  "flows",
  "flowsOpened",
  "flowsEvicted",
] as const;
export type GatewayCounters = Record<(typeof GATEWAY_COUNTERS)[number], number>;

/** Of a peer. */
const PEER_COUNTERS = [
  "isUp",
  "packetsSent",
  "packetsRefused",
  "packetsReceived",
  "packetsRebuiltHere",
  "packetsHeld",
  "gapsAbandoned",
  "latePackets",
  "dataPacketsSent",
  "repairPacketsSent",
  "lostPackets",
  "rebuiltPackets",
  "unrecoverablePackets",
  "datagramsSent",
  "bytesSent",
  "datagramsReceived",
  "rejectedDatagrams",
  "sendErrors",
  "roundTripMicros",
  "lossEstimate",
  "burstEstimate",
  "paceBitsPerSecond",
  "codeDataPackets",
  "codeRepairPackets",
  "codeSpanPackets",
  "codeOverhead",
  "codeChanges",
] as const;
export type PeerCounters = Record<(typeof PEER_COUNTERS)[number], number>;

const FLOATS = GATEWAY_COUNTERS.length + MAX_PEERS * PEER_COUNTERS.length;

export class SharedStatistics {
  readonly memory: SharedArrayBuffer;
  private readonly values: Float64Array;

  constructor(memory = new SharedArrayBuffer(FLOATS * Float64Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.values = new Float64Array(memory);
  }

  writeGateway(counters: GatewayCounters): void {
    for (let i = 0; i < GATEWAY_COUNTERS.length; i++) {
      this.values[i] = counters[GATEWAY_COUNTERS[i] as keyof GatewayCounters];
    }
  }

  writePeer(place: number, counters: PeerCounters): void {
    const at = placeOf(place);
    for (let i = 0; i < PEER_COUNTERS.length; i++) {
      this.values[at + i] = counters[PEER_COUNTERS[i] as keyof PeerCounters];
    }
  }

  readGateway(): GatewayCounters {
    return this.read(GATEWAY_COUNTERS, 0) as GatewayCounters;
  }

  readPeer(place: number): PeerCounters {
    return this.read(PEER_COUNTERS, placeOf(place)) as PeerCounters;
  }

  private read(names: readonly string[], at: number): Record<string, number> {
    return Object.fromEntries(names.map((name, i) => [name, this.values[at + i] ?? 0]));
  }
}

function placeOf(place: number): number {
  return GATEWAY_COUNTERS.length + place * PEER_COUNTERS.length;
}

export function zeroGatewayCounters(): GatewayCounters {
  return Object.fromEntries(GATEWAY_COUNTERS.map((name) => [name, 0])) as GatewayCounters;
}

export function zeroPeerCounters(): PeerCounters {
  return Object.fromEntries(PEER_COUNTERS.map((name) => [name, 0])) as PeerCounters;
}
