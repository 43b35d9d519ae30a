/**
 * The data plane: one thread that sleeps in one ppoll over its device, the peers' sockets and a bell,
 * and does everything else synchronously. A turn of the loop is: packets from the device, datagrams
 * from the peers, timers, datagrams to the peers. Nothing is waited for but the ppoll.
 */
import { Bell, PollSet } from "../../sys/poll.ts";
import { systemTime } from "../../sys/time.ts";
import { Answers } from "../core/transport/answers.ts";
import { FlowFeed } from "./flow-feed.ts";
import type { ToDataPlane } from "./messages.ts";
import type { Path, PathContext } from "./path.ts";
import type { Peer, Tell } from "./peer.ts";
import type { DataPlaneSettings } from "./settings.ts";
import { type GatewayCounters, type SharedStatistics, zeroGatewayCounters } from "./statistics.ts";
import { Urgency } from "./urgency.ts";
import { Transparent } from "./transparent.ts";
import { Tunnel } from "./tunnel.ts";
import { type Wire, wiresOf } from "./wire.ts";

/** Statistics are written, and idle flows looked for, this often. */
const HOUSEKEEPING_MICROS = 100_000;
/**
 * While there is work again and again, turns begin at most this often, as network cards moderate
 * their interrupts: a turn for each packet would cost more than the packet.
 */
const REST_MICROS = 100;
/** Places of the poll set. The peers' sockets come behind. */
const BELL = 0;
const DEVICE = 1;
const FIRST_WIRE = 2;

export class DataPlane {
  private readonly path: Path;
  private readonly bell: Bell;
  private readonly feed: FlowFeed;
  private readonly statistics: SharedStatistics;
  private readonly counters: GatewayCounters = zeroGatewayCounters();
  private readonly takeMessage: () => ToDataPlane | null;
  private poll: PollSet;
  private peers: readonly Peer[] = [];
  private wires: readonly Wire[] = [];
  private readonly answers = new Answers();
  private nextHousekeepingMicros = 0;
  private isStopped = false;
  /** A turn ended before its work did: the next does not wait. */
  private hasMore = false;
  private turnMicros = -Infinity;
  private isBusy = false;
  private readonly resting: PollSet;
  private readonly urgency = new Urgency();

  /** `takeMessage` gives what the control thread sent, after it rang the bell. */
  constructor(
    settings: DataPlaneSettings,
    bell: Bell,
    statistics: SharedStatistics,
    seed: number,
    tell: Tell,
    takeMessage: () => ToDataPlane | null,
  ) {
    this.bell = bell;
    this.statistics = statistics;
    this.takeMessage = takeMessage;
    this.feed = new FlowFeed(tell);
    const context = { tell, feed: this.feed, counters: this.counters, answers: this.answers, seed };
    this.path = openPath(settings, context, systemTime.nowMicros());
    this.poll = this.pollSet();
    this.resting = new PollSet([bell.fd]);
  }

  /** Until it is told to stop. */
  run(): void {
    while (!this.isStopped) this.turn();
    const nowMicros = systemTime.nowMicros();
    for (const peer of this.peers) peer.channel.close(nowMicros);
    this.housekeep(nowMicros);
  }

  private turn(): void {
    this.rest();
    const beforeMicros = systemTime.nowMicros();
    this.poll.wait(this.waitMicros(beforeMicros));
    this.counters.wakeups++;
    if (this.poll.isReadable(BELL)) this.handleMessages();
    let nowMicros = systemTime.nowMicros();
    this.urgency.noteWait(nowMicros - beforeMicros);
    this.isBusy = nowMicros - this.turnMicros < REST_MICROS;
    this.turnMicros = nowMicros;
    this.path.handleTimeout(nowMicros);
    this.receive();
    nowMicros = systemTime.nowMicros();
    this.hasMore = false;
    if (this.path.isBlocked || this.poll.isReadable(DEVICE)) {
      this.hasMore = this.path.read(nowMicros);
    }
    this.send(nowMicros);
    this.path.handleTimeout(nowMicros);
    this.feed.pump(this.peers, nowMicros);
    if (nowMicros >= this.nextHousekeepingMicros) this.housekeep(nowMicros);
  }

  private rest(): void {
    if (!this.isBusy || this.hasMore) return;
    const left = this.turnMicros + REST_MICROS - systemTime.nowMicros();
    if (left <= 0) return;
    this.resting.wait(left);
    this.urgency.noteWait(left);
  }

  private waitMicros(nowMicros: number): number {
    if (this.hasMore) return 0;
    let next = Math.min(this.nextHousekeepingMicros, this.path.nextTimeoutMicros());
    for (const { channel } of this.peers) next = Math.min(next, channel.nextTimeoutMicros());
    return Math.max(0, next - nowMicros);
  }

  private receive(): void {
    for (let i = 0; i < this.wires.length; i++) {
      if (this.poll.isReadable(FIRST_WIRE + i)) this.wires[i]?.receive();
    }
    this.path.flush();
  }

  private send(nowMicros: number): void {
    for (let i = 0; i < this.peers.length; i++) {
      const peer = this.peers[i];
      if (peer === undefined) continue;
      const { channel } = peer;
      if (channel.pump(nowMicros)) this.hasMore = true;
      peer.followPath();
    }
    for (let i = 0; i < this.wires.length; i++) {
      this.poll.watch(FIRST_WIRE + i, this.wires[i]?.isBlocked === true ? "both" : "read");
    }
    this.poll.watch(DEVICE, this.path.isBlocked ? "nothing" : "read");
  }

  private handleMessages(): void {
    this.bell.quiet();
    for (let message = this.takeMessage(); message !== null; message = this.takeMessage()) {
      switch (message.kind) {
        case "settings":
          this.path.apply(message.settings, systemTime.nowMicros());
          this.poll = this.pollSet();
          break;
        case "flows":
          this.feed.want(message.isWanted, this.peers);
          break;
        case "stop":
          this.isStopped = true;
      }
    }
  }

  private pollSet(): PollSet {
    this.peers = this.path.peers;
    const channels = this.peers.map(({ settings, channel }) => ({
      socket: settings.socket,
      channel,
    }));
    this.wires = wiresOf(channels, this.answers);
    const sockets = this.wires.map(({ socket }) => socket);
    return new PollSet([this.bell.fd, this.path.descriptor, ...sockets]);
  }

  private housekeep(nowMicros: number): void {
    this.nextHousekeepingMicros = nowMicros + HOUSEKEEPING_MICROS;
    this.urgency.decide(nowMicros);
    const { counters, statistics } = this;
    counters.flows = 0;
    counters.flowsOpened = 0;
    counters.flowsEvicted = 0;
    for (const peer of this.peers) {
      peer.flows.expire(nowMicros);
      counters.flows += peer.flows.size;
      counters.flowsOpened += peer.flows.statistics.opened;
      counters.flowsEvicted += peer.flows.statistics.evicted;
      statistics.writePeer(peer.settings.place, peer.count());
    }
    statistics.writeGateway(counters);
  }
}

function openPath(settings: DataPlaneSettings, context: PathContext, nowMicros: number): Path {
  return settings.mode === "tunnel"
    ? new Tunnel(settings, context, nowMicros)
    : new Transparent(settings, context, nowMicros);
}
