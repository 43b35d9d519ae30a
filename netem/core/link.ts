/**
 * One direction of an emulated wide-area path, in virtual time.
 *
 * A packet passes, in this order: the cut, the path MTU, the bottleneck's queue (tail drop), the loss process,
 * duplication, and the delay with its jitter or holding back. Its whole fate is decided when it
 * enters. So a packet that is lost has still taken its time at the bottleneck, a change of
 * settings applies to packets that enter from then on, and after `cut` nothing enters while what
 * is under way (the queue included: it stands beyond the sender) travels on, under the loss that
 * it met at its entry.
 *
 * Invariants: sent + duplicated = delivered + lost + overflowed + tooLong + cut + in flight. Without
 * `reorderShare` packets arrive in the order they were sent. One seed and one sequence of calls
 * give one history; each effect draws from its own random source, so that turning on one effect
 * leaves the draws of the others alone.
 */
import { Prng } from "../../lib/prng.ts";
import { Bottleneck } from "./bottleneck.ts";
import { LossProcess } from "./loss.ts";
import {
  changeSettings,
  IDEAL_LINK,
  type LinkChanges,
  type LinkSettings,
  queueLimitBytes,
} from "./settings.ts";
import { Wire } from "./wire.ts";

/** Most packets under way; more are dropped as overflow. 1 Gbit/s of 1,400 B for 2.9 s. */
export const MAX_PACKETS_IN_FLIGHT = 262_144;

/** What became of a packet at its entry; all but `queued` give it back to the caller. */
export type SendResult = "queued" | "lost" | "overflow" | "tooLong" | "cut";

/** Counts of packets since the start; `bytes` is what was delivered. */
export interface EmulatedLinkStatistics {
  readonly sent: number;
  readonly delivered: number;
  readonly lost: number;
  readonly overflowed: number;
  /** Second copies made. */
  readonly duplicated: number;
  /** Delivered behind a packet that was sent later. */
  readonly reordered: number;
  /** Longer than the path's MTU. */
  readonly tooLong: number;
  /** Refused because the link was cut. */
  readonly cut: number;
  readonly bytes: number;
}

export class EmulatedLink<T> {
  private current: LinkSettings;
  private readonly copy: (packet: T) => T;
  private readonly wire = new Wire<T>();
  private readonly bottleneck: Bottleneck;
  private readonly loss: LossProcess;
  private readonly jitter: Prng;
  private readonly reorder: Prng;
  private readonly duplicate: Prng;
  private isCutNow = false;
  private readonly counts = {
    sent: 0,
    delivered: 0,
    lost: 0,
    overflowed: 0,
    duplicated: 0,
    reordered: 0,
    tooLong: 0,
    cut: 0,
    bytes: 0,
  };

  /**
   * `copy` makes the second packet of a duplicate, for callers that reuse a packet's memory once
   * it was delivered; without it both deliveries give the same object.
   */
  constructor(settings: LinkSettings, prng: Prng, copy: (packet: T) => T = (packet) => packet) {
    this.current = changeSettings(IDEAL_LINK, settings);
    this.copy = copy;
    this.bottleneck = new Bottleneck(settings.rateBitsPerSecond, queueLimitBytes(settings));
    this.loss = new LossProcess(settings.loss, new Prng(prng.u32()));
    this.jitter = new Prng(prng.u32());
    this.reorder = new Prng(prng.u32());
    this.duplicate = new Prng(prng.u32());
  }

  get settings(): LinkSettings {
    return this.current;
  }

  get statistics(): EmulatedLinkStatistics {
    return this.counts;
  }

  get isCut(): boolean {
    return this.isCutNow;
  }

  /** Copies that were neither delivered nor dropped yet. */
  get packetsInFlight(): number {
    return this.wire.count;
  }

  /** `bytes` is what the packet takes of the rate, headers included if the caller counts them. */
  send(packet: T, bytes: number, nowMicros: number): SendResult {
    this.counts.sent++;
    const result = this.enter(bytes, nowMicros);
    if (typeof result === "number") {
      this.launch(packet, bytes, result);
      return "queued";
    }
    if (result === "overflow") this.counts.overflowed++;
    else this.counts[result]++;
    return result;
  }

  /** The next packet that has arrived by now, or null. */
  poll(nowMicros: number): T | null {
    const packet = this.wire.take(nowMicros);
    if (packet === null) return null;
    this.counts.delivered++;
    this.counts.bytes += this.wire.lastTaken.bytes;
    if (this.wire.lastTaken.wasOvertaken) this.counts.reordered++;
    return packet;
  }

  /** When `poll` has the next packet; Infinity when nothing is under way. */
  nextTimeoutMicros(): number {
    return this.wire.nextArrivalMicros();
  }

  /** For packets that enter from now on; throws `SmfsError` USAGE when a value makes no sense. */
  configure(changes: LinkChanges, nowMicros: number): void {
    this.current = changeSettings(this.current, changes);
    const { rateBitsPerSecond, loss } = this.current;
    this.bottleneck.configure(rateBitsPerSecond, queueLimitBytes(this.current), nowMicros);
    this.loss.configure(loss);
  }

  /** Nothing enters any more; what is under way still arrives. */
  cut(): void {
    this.isCutNow = true;
  }

  restore(): void {
    this.isCutNow = false;
  }

  /** When the packet has left the bottleneck, or why it never arrives. */
  private enter(bytes: number, nowMicros: number): number | Exclude<SendResult, "queued"> {
    if (this.isCutNow) return "cut";
    if (bytes > this.current.mtuBytes) return "tooLong";
    // Two places: a packet may be duplicated.
    if (this.wire.count + 2 > MAX_PACKETS_IN_FLIGHT) return "overflow";
    const departureMicros = this.bottleneck.admit(bytes, nowMicros);
    if (departureMicros === null) return "overflow";
    return this.loss.next() ? "lost" : departureMicros;
  }

  private launch(packet: T, bytes: number, departureMicros: number): void {
    const { delayMicros, jitterMicros, reorderShare, reorderDelayMicros, duplicateShare } =
      this.current;
    const jitter = jitterMicros === 0 ? 0 : this.jitter.float() * jitterMicros;
    const arrivalMicros = Math.ceil(departureMicros + delayMicros + jitter);
    const isHeldBack = reorderShare > 0 && this.reorder.chance(reorderShare);
    const isDuplicated = duplicateShare > 0 && this.duplicate.chance(duplicateShare);
    const second = isDuplicated ? this.copy(packet) : null;
    if (isHeldBack) this.wire.putHeldBack(packet, bytes, arrivalMicros + reorderDelayMicros);
    else this.wire.putInOrder(packet, bytes, arrivalMicros);
    if (second === null) return;
    this.counts.duplicated++;
    this.wire.putInOrder(second, bytes, arrivalMicros);
  }
}
