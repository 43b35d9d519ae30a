/**
 * `Link`: an ordered, reliable byte stream to one peer that also tells how safe its bytes are.
 * The mirror knows the gateway by this interface only; `gateway/udp` implements it over datagrams,
 * and the simulator runs the same association over its own network.
 *
 * Offsets count the bytes of one connection from 0. After `onDown` everything not acknowledged is
 * forgotten; the next `onUp` starts a new connection at 0 and the user says again where it stands.
 */
export interface LinkHandler {
  onUp(): void;
  /** `reason` is a sentence for people; `code` says whether trying again can help. */
  onDown(code: "lost" | "closed" | "refused", reason: string): void;
  /** Bytes in order. Valid only during the call. */
  onData(bytes: Uint8Array): void;
  /** `writableBytes` grew from too little. */
  onWritable(): void;
  /** `safeOffset` or `acknowledgedOffset` advanced. */
  onProgress(): void;
}

export interface Link {
  readonly up: boolean;
  /** How many bytes `write` takes now. */
  readonly writableBytes: number;
  /** Copies; `bytes` is at most `writableBytes` long. */
  write(bytes: Uint8Array): void;
  /** Bytes given to `write` on this connection. */
  readonly writtenOffset: number;
  /**
   * Everything below has left this machine with enough repair packets that the probability that any
   * of it can not be rebuilt from what is on the wire is at most the target risk (SMFS §3.1, §3.2).
   */
  readonly safeOffset: number;
  /** Everything below is in the peer process's hands. */
  readonly acknowledgedOffset: number;
  /** Somebody waits for `safeOffset` to reach `offset`: flush partial interleaves soon. */
  hurry(offset: number): void;
  /** Probability that some byte below `offset` cannot be rebuilt if this site dies now. */
  riskBelow(offset: number): number;
  readonly statistics: LinkStatistics;
  close(): void;
}

export interface LinkStatistics {
  readonly dataPacketsSent: number;
  readonly repairPacketsSent: number;
  readonly retransmittedPackets: number;
  /** As the peer reports for our packets: lost before repair, rebuilt, beyond repair. */
  readonly lostPackets: number;
  readonly rebuiltPackets: number;
  readonly unrecoverablePackets: number;
  /** Of the peer's packets, by the code here. */
  readonly rebuiltHerePackets: number;
  readonly messagesSent: number;
  /** Not taken because the queue was full. */
  readonly messagesRefused: number;
  /** Protected ones that are not known to have arrived, beyond repair. */
  readonly messagesLost: number;
  readonly messagesReceived: number;
  readonly datagramsSent: number;
  readonly bytesSent: number;
  readonly datagramsReceived: number;
  /** Failed authentication, malformed, replayed. */
  readonly rejectedDatagrams: number;
  readonly roundTripMicros: number;
  readonly lossEstimate: number;
  readonly burstEstimate: number;
  readonly paceBitsPerSecond: number;
  /** The code in use: for so many data packets, so many repairs, spread over so many ids. */
  readonly codeDataPackets: number;
  readonly codeRepairPackets: number;
  readonly codeSpanPackets: number;
  /** Repairs for each data packet, as the code plans. */
  readonly codeOverhead: number;
  readonly codeChanges: number;
}
