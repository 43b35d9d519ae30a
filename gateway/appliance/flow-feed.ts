/**
 * What subscribers hear of flows, collected on the data plane's thread and sent to the control
 * thread by the batch: each flow that changed once, at most every FEED_MICROS, and only while
 * somebody listens. So a subscriber that waits for an offset hears of it within a millisecond.
 */
import type { Flow, FlowEnd } from "../core/ip/flow.ts";
import { LEVELS } from "../core/ip/flow.ts";
import { formatEnd } from "../core/ip/flow-key.ts";
import { riskModelOf } from "../core/code/risk.ts";
import { levelsOf } from "../core/code/parameters.ts";
import type { CodeParameters } from "../core/code/code.ts";
import type { FlowUpdate } from "./messages.ts";
import type { Peer, Tell } from "./peer.ts";

const FEED_MICROS = 500;
/** Ends that wait to be told; more than that at once are not told one by one. */
const MAX_WAITING = 4096;

export class FlowFeed {
  private readonly tell: Tell;
  private updates: FlowUpdate[] = [];
  private isWanted = false;
  private lastMicros = -Infinity;
  private readonly risks = new Map<Peer, RiskTable>();

  constructor(tell: Tell) {
    this.tell = tell;
  }

  /** Somebody subscribes, or nobody any more. Who begins to listen hears of every flow once. */
  want(isWanted: boolean, peers: Iterable<Peer>): void {
    this.isWanted = isWanted;
    if (!isWanted) return;
    for (const peer of peers) peer.flows.forEach((flow, key) => this.note(peer, flow, key, null));
  }

  noteEnd(peer: Peer, flow: Flow, key: Uint8Array, reason: FlowEnd): void {
    if (this.isWanted) this.note(peer, flow, key, reason);
  }

  private note(peer: Peer, flow: Flow, key: Uint8Array, ended: FlowEnd | null): void {
    if (this.updates.length >= MAX_WAITING) return;
    const { risks } = this.risksOf(peer);
    const covered = Array.from(flow.covered.subarray(0, risks.length));
    this.updates.push({
      peer: peer.settings.name,
      number: flow.number,
      local: formatEnd(key, "local"),
      remote: formatEnd(key, "remote"),
      isFromStart: flow.isFromStart,
      passed: flow.passedOffset,
      acknowledged: flow.acknowledgedOffset,
      covered,
      risks: risks.map((risk, level) => riskBelow(risk, flow, covered[level] ?? 0)),
      ended,
    });
  }

  private risksOf(peer: Peer): RiskTable {
    let table = this.risks.get(peer);
    if (table === undefined) {
      table = new RiskTable(peer);
      this.risks.set(peer, table);
    }
    table.refresh();
    return table;
  }

  forget(peer: Peer): void {
    this.risks.delete(peer);
  }

  /** Sends what has changed, when it is time. */
  pump(peers: Iterable<Peer>, nowMicros: number): void {
    if (!this.isWanted || nowMicros < this.lastMicros + FEED_MICROS) return;
    for (const peer of peers) {
      peer.flows.drainChanged((flow, key) => this.note(peer, flow, key, null));
    }
    if (this.updates.length === 0) return;
    this.lastMicros = nowMicros;
    this.tell({ kind: "flows", updates: this.updates });
    this.updates = [];
  }
}

/** Bytes that a packet carries at least while much is in flight: RFC 9293 §3.7.1, default MSS. */
const LEAST_SEGMENT_BYTES = 536;

/** Union bound over the packets below `covered` that the peer has not acknowledged. */
function riskBelow(packetRisk: number, flow: Flow, covered: number): number {
  const packets = Math.ceil((covered - flow.acknowledgedOffset) / LEAST_SEGMENT_BYTES);
  return packets <= 0 ? 0 : Math.min(1, packets * packetRisk);
}

/** The model's estimate for each level, for the loss that the peer last reported. */
class RiskTable {
  private readonly peer: Peer;
  private loss = -1;
  private burst = -1;
  private codes: readonly CodeParameters[] = [];
  risks: number[] = [];

  constructor(peer: Peer) {
    this.peer = peer;
  }

  refresh(): void {
    const codes = this.peer.codesInUse;
    const { loss, burst } = this.peer.loss;
    if (loss === this.loss && burst === this.burst && isSame(codes, this.codes)) return;
    this.loss = loss;
    this.burst = burst;
    this.codes = codes;
    const models = codes.map((code) => riskModelOf(code, { loss, burst }));
    const levels = Math.min(LEVELS, ...codes.map((code) => levelsOf(code) + 1));
    this.risks = Array.from({ length: levels }, (_, layers) =>
      // Whether its repairs had served their delay is not known here, nor by which code: the careful
      // case.
      Math.max(
        ...models.map((model) =>
          model.packetRisk({ layers, spread: 0, copies: 0, stride: 1, depth: 0 }),
        ),
      ),
    );
  }
}

function isSame(now: readonly CodeParameters[], before: readonly CodeParameters[]): boolean {
  return now.length === before.length && now.every((code, index) => code === before[index]);
}
