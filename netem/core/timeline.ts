/**
 * Timelines: what happens to a path, and when. A line is a time since the start, perhaps a
 * direction, and what to do:
 *
 *     # time   direction   what
 *     10s                  loss=1% burst=8
 *     12500ms  a>b         delay=80ms rate=100mbit
 *     20s                  cut
 *     21s                  restore
 *
 * `a>b` is from the listening side to the peer, `b>a` back; without one both are meant. Invariant:
 * events are applied in the order of their times, those of one time in the order of their lines.
 */
import { messageOf, SmfsError } from "../../lib/errors.ts";
import { parseDuration } from "../../lib/units.ts";
import { parseChanges } from "./parse.ts";
import type { LinkChanges } from "./settings.ts";

export type Direction = "a>b" | "b>a" | "both";

export type PathAction =
  | { readonly kind: "configure"; readonly changes: LinkChanges }
  | { readonly kind: "cut" }
  | { readonly kind: "restore" };

export interface TimelineEvent {
  /** Since the timeline's start. */
  readonly atMicros: number;
  readonly direction: Direction;
  readonly action: PathAction;
}

/** Lines that a timeline may have at most: it is read whole. */
const MAX_LINES = 100_000;

/** Throws `SmfsError` USAGE with `name`, the line's number and what to write instead. */
export function parseTimeline(text: string, name: string): TimelineEvent[] {
  const lines = text.split("\n");
  if (lines.length > MAX_LINES) {
    throw new SmfsError("USAGE", `${name}: a timeline has at most ${MAX_LINES} lines`);
  }
  const events: TimelineEvent[] = [];
  for (const [index, line] of lines.entries()) {
    const words = line.replace(/#.*/, "").trim().split(/\s+/);
    if (words[0] !== "") events.push(parseLine(words, `${name}:${index + 1}`));
  }
  return events.toSorted((a, b) => a.atMicros - b.atMicros);
}

function parseLine(words: readonly string[], place: string): TimelineEvent {
  try {
    const [time, second] = words as [string, string | undefined];
    const isDirected = second === "a>b" || second === "b>a";
    return {
      atMicros: parseDuration(time),
      direction: isDirected ? second : "both",
      action: parseAction(words.slice(isDirected ? 2 : 1)),
    };
  } catch (error) {
    throw new SmfsError("USAGE", `${place}: ${messageOf(error)}`, error);
  }
}

function parseAction(words: readonly string[]): PathAction {
  const [first] = words;
  if (words.length === 1 && (first === "cut" || first === "restore")) return { kind: first };
  if (first === undefined || !words.every((word) => word.includes("="))) {
    throw new SmfsError(
      "USAGE",
      "after the time comes cut, restore, or changes such as loss=1% burst=8 (no spaces around =)",
    );
  }
  const texts = words.map((word) => word.split("=", 2) as [string, string]);
  return { kind: "configure", changes: parseChanges(Object.fromEntries(texts)) };
}

/** Walks a timeline; time only goes forward. */
export class TimelineCursor {
  private readonly events: readonly TimelineEvent[];
  private next = 0;

  /** `events` as `parseTimeline` gives them, by time. */
  constructor(events: readonly TimelineEvent[]) {
    this.events = events;
  }

  /** When `poll` has something; Infinity at the end. */
  nextTimeoutMicros(): number {
    return this.events[this.next]?.atMicros ?? Infinity;
  }

  /** The next event that is due `elapsedMicros` after the start, or null. */
  poll(elapsedMicros: number): TimelineEvent | null {
    const event = this.events[this.next];
    if (event === undefined || event.atMicros > elapsedMicros) return null;
    this.next++;
    return event;
  }
}
