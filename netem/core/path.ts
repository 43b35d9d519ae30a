/**
 * Both directions of an emulated path between a site A and a site B, and what can be done to them
 * while packets are under way. What the relay drives with sockets, a test can drive by hand.
 */
import { Prng } from "../../lib/prng.ts";
import { EmulatedLink, type EmulatedLinkStatistics } from "./link.ts";
import type { LinkSettings } from "./settings.ts";
import { type Direction, type PathAction, TimelineCursor, type TimelineEvent } from "./timeline.ts";

export interface PathSettings {
  readonly aToB: LinkSettings;
  readonly bToA: LinkSettings;
  /** One seed, one history. */
  readonly seed: number;
  readonly timeline: readonly TimelineEvent[];
}

export interface PathStatistics {
  readonly aToB: EmulatedLinkStatistics & { readonly inFlight: number };
  readonly bToA: EmulatedLinkStatistics & { readonly inFlight: number };
}

export class EmulatedPath<T> {
  readonly aToB: EmulatedLink<T>;
  readonly bToA: EmulatedLink<T>;
  private readonly startMicros: number;
  private readonly timeline: TimelineCursor;

  /** The timeline starts at `startMicros`. */
  constructor(settings: PathSettings, startMicros: number, copy?: (packet: T) => T) {
    const prng = new Prng(settings.seed);
    this.aToB = new EmulatedLink(settings.aToB, new Prng(prng.u32()), copy);
    this.bToA = new EmulatedLink(settings.bToA, new Prng(prng.u32()), copy);
    this.startMicros = startMicros;
    this.timeline = new TimelineCursor(settings.timeline);
  }

  get statistics(): PathStatistics {
    return { aToB: withInFlight(this.aToB), bToA: withInFlight(this.bToA) };
  }

  apply(direction: Direction, action: PathAction, nowMicros: number): void {
    if (direction !== "b>a") applyTo(this.aToB, action, nowMicros);
    if (direction !== "a>b") applyTo(this.bToA, action, nowMicros);
  }

  /** Applies what the timeline has for now; the events, for whoever reports them. */
  runTimeline(nowMicros: number): TimelineEvent[] {
    const ran: TimelineEvent[] = [];
    const elapsedMicros = nowMicros - this.startMicros;
    let event = this.timeline.poll(elapsedMicros);
    while (event !== null) {
      this.apply(event.direction, event.action, nowMicros);
      ran.push(event);
      event = this.timeline.poll(elapsedMicros);
    }
    return ran;
  }

  /** When a packet arrives or the timeline has something; Infinity for never. */
  nextTimeoutMicros(): number {
    return Math.min(
      this.aToB.nextTimeoutMicros(),
      this.bToA.nextTimeoutMicros(),
      this.startMicros + this.timeline.nextTimeoutMicros(),
    );
  }
}

function applyTo<T>(link: EmulatedLink<T>, action: PathAction, nowMicros: number): void {
  switch (action.kind) {
    case "configure":
      link.configure(action.changes, nowMicros);
      return;
    case "cut":
      link.cut();
      return;
    case "restore":
      link.restore();
      return;
  }
}

function withInFlight<T>(link: EmulatedLink<T>): PathStatistics["aToB"] {
  return { ...link.statistics, inFlight: link.packetsInFlight };
}
