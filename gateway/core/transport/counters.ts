/** The transport's monotonic counts; they outlive sessions. */
import type { LinkStatistics } from "./link.ts";

export type Counters = { -readonly [K in keyof LinkStatistics]: LinkStatistics[K] };

export function makeCounters(paceBitsPerSecond: number): Counters {
  return {
    dataPacketsSent: 0,
    repairPacketsSent: 0,
    retransmittedPackets: 0,
    lostPackets: 0,
    rebuiltPackets: 0,
    unrecoverablePackets: 0,
    rebuiltHerePackets: 0,
    messagesSent: 0,
    messagesRefused: 0,
    messagesLost: 0,
    messagesReceived: 0,
    datagramsSent: 0,
    bytesSent: 0,
    datagramsReceived: 0,
    rejectedDatagrams: 0,
    roundTripMicros: 0,
    lossEstimate: 0,
    burstEstimate: 1,
    codeDataPackets: 0,
    codeRepairPackets: 0,
    codeSpanPackets: 0,
    codeOverhead: 0,
    codeChanges: 0,
    paceBitsPerSecond,
  };
}
