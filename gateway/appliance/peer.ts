/** What both modes keep of one peer: its channel, its prefixes, the flows towards it, the counters. */
import type { CodeParameters, LossEstimate } from "../core/code/code.ts";
import { DEFAULT_CONFIG } from "../core/transport/config.ts";
import type { FlowEnd, Flow } from "../core/ip/flow.ts";
import { Flows } from "../core/ip/flows.ts";
import { type Prefix, parsePrefix } from "../core/ip/prefixes.ts";
import type { Answers } from "../core/transport/answers.ts";
import type { MessageHandler } from "../core/transport/messages.ts";
import { Channel } from "./channel.ts";
import type { FlowFeed } from "./flow-feed.ts";
import type { FromDataPlane } from "./messages.ts";
import type { PeerSettings } from "./settings.ts";
import { type PeerCounters, zeroPeerCounters } from "./statistics.ts";

export type Tell = (message: FromDataPlane) => void;

/** What a mode does with a peer's messages. */
export interface PeerTraffic extends MessageHandler {
  /** A new session: ids begin at 0. */
  restart(): void;
  /** The association carries other lengths than before. The longest packet now, bytes. */
  fit(): number;
  /** Datagrams of the peer were taken, and are handled next. */
  onBatch(): void;
}

export class Peer {
  settings: PeerSettings;
  readonly channel: Channel;
  readonly flows: Flows;
  prefixes: readonly Prefix[];
  /** Longest packet that is carried, or protected. */
  packetBytes = 0;
  /** Of the association's datagrams, when `packetBytes` was found. */
  private pathBytes = 0;
  private readonly traffic: PeerTraffic;
  private readonly tell: Tell;
  /** As the other side of the transparent mode reports; null: as the association says. */
  private reportedLoss: LossEstimate | null = null;
  readonly counters: PeerCounters = zeroPeerCounters();
  private readonly feed: FlowFeed;

  constructor(
    settings: PeerSettings,
    traffic: PeerTraffic,
    feed: FlowFeed,
    tell: Tell,
    seed: number,
    answers: Answers,
    nowMicros: number,
  ) {
    this.settings = settings;
    this.traffic = traffic;
    this.tell = tell;
    this.feed = feed;
    this.prefixes = settings.prefixes.map(parsePrefix);
    this.flows = new Flows({ seed, onEnd: (flow, key, reason) => this.noteEnd(flow, key, reason) });
    const { name } = settings;
    const handler = {
      onBatch: () => traffic.onBatch(),
      onUp: () => {
        this.counters.isUp = 1;
        traffic.restart();
        this.fit();
        tell({ kind: "up", peer: name, packetBytes: this.packetBytes });
      },
      onDown: (code: string, reason: string) => {
        this.counters.isUp = 0;
        tell({ kind: "down", peer: name, code, reason });
      },
      onAddress: (address: string) => tell({ kind: "address", peer: name, address }),
    };
    this.channel = new Channel(settings, handler, traffic, answers, nowMicros);
  }

  private noteEnd(flow: Flow, key: Uint8Array, reason: FlowEnd): void {
    this.feed.noteEnd(this, flow, key, reason);
  }

  /** Packets grow and shrink with what the path takes. */
  followPath(): void {
    const { datagramBytes } = this.channel.association;
    if (datagramBytes === 0 || datagramBytes === this.pathBytes) return;
    this.fit();
    this.tell({ kind: "resized", peer: this.settings.name, packetBytes: this.packetBytes });
  }

  private fit(): void {
    this.pathBytes = this.channel.association.datagramBytes;
    this.packetBytes = this.traffic.fit();
  }

  get code(): CodeParameters {
    return this.settings.transport.code ?? DEFAULT_CONFIG.code;
  }

  /** By which what is on its way is protected; transparent mode has one of its own. */
  get codesInUse(): readonly CodeParameters[] {
    return this.reportedLoss === null ? this.channel.codesInUse : [this.code];
  }

  /** New prefixes, rate, code; the session goes on. */
  change(settings: PeerSettings, nowMicros: number): void {
    this.settings = settings;
    this.prefixes = settings.prefixes.map(parsePrefix);
    this.channel.change(settings, nowMicros);
  }

  /** Of our packets, as the peer reports. */
  get loss(): LossEstimate {
    if (this.reportedLoss !== null) return this.reportedLoss;
    const { lossEstimate: loss, burstEstimate: burst } = this.channel.statistics;
    return { loss, burst: Math.max(1, burst) };
  }

  set loss(reported: LossEstimate) {
    this.reportedLoss = reported;
  }

  /** Brings the counters up to date. */
  count(): PeerCounters {
    const { counters, channel } = this;
    const { statistics } = channel;
    if (this.reportedLoss === null) this.countCode();
    counters.datagramsSent = statistics.datagramsSent;
    counters.bytesSent = statistics.bytesSent;
    counters.datagramsReceived = statistics.datagramsReceived;
    counters.rejectedDatagrams = statistics.rejectedDatagrams;
    counters.sendErrors = channel.sendErrors;
    counters.roundTripMicros = statistics.roundTripMicros;
    const { loss, burst } = this.loss;
    counters.lossEstimate = loss;
    counters.burstEstimate = burst;
    counters.paceBitsPerSecond = statistics.paceBitsPerSecond;
    return counters;
  }

  /** The association's own code; the transparent mode has another. */
  private countCode(): void {
    const { counters } = this;
    const { statistics } = this.channel;
    counters.dataPacketsSent = statistics.dataPacketsSent;
    counters.repairPacketsSent = statistics.repairPacketsSent;
    counters.lostPackets = statistics.lostPackets;
    counters.rebuiltPackets = statistics.rebuiltPackets;
    counters.unrecoverablePackets = statistics.unrecoverablePackets;
    counters.codeDataPackets = statistics.codeDataPackets;
    counters.codeRepairPackets = statistics.codeRepairPackets;
    counters.codeSpanPackets = statistics.codeSpanPackets;
    counters.codeOverhead = statistics.codeOverhead;
    counters.codeChanges = statistics.codeChanges;
  }
}
