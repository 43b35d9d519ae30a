/**
 * Which segments to clean, and when: arithmetic on a table of segments, nothing else.
 *
 * Cost and benefit (Rosenblum and Ousterhout, "The Design and Implementation of a Log-Structured
 * File System", §3.5–3.6): cleaning a segment of utilisation u reads it once and writes u of it
 * again, and gains 1 − u, for as long as what it holds stays as it is. How long that will be is
 * estimated by how long it has been so. So cold segments are cleaned at a higher utilisation than
 * hot ones, whose dead bytes multiply by themselves when one waits.
 *
 * The paper multiplies by the age itself. That overrates segments of moved data, which are old from
 * the start; its square root writes less in the paper's own simulator, for every pattern and
 * utilisation tried (`test/sim/cleaning-model.ts`; at 90 %, hot and cold, a quarter less).
 */

/** One segment that may be cleaned: sealed, not known to be damaged. `liveBytes`: of all trees. */
export interface SegmentUsage {
  readonly segment: number;
  /** Of its file: what removing it gives back. */
  readonly bytes: number;
  readonly liveBytes: number;
  /** When the youngest of its data was written, seconds since 1970; moving data does not make it young. */
  readonly writtenSeconds: number;
}

/**
 * Dead share below which a segment is not worth its move: what a move itself needs for records and
 * items of 4 KiB blocks is about 1/64.
 */
export const LEAST_DEAD_SHARE = 1 / 32;

/** What a victim is worth, to be compared with others' at the same moment. */
export type Worth = (usage: SegmentUsage, nowSeconds: number) => number;

/** (1 − u) × √age / (1 + u). Ages start at a second, or segments of the same second would be alike. */
export const worthOf: Worth = ({ bytes, liveBytes, writtenSeconds }, nowSeconds) => {
  const ageSeconds = Math.max(1, nowSeconds - writtenSeconds);
  return ((bytes - liveBytes) * Math.sqrt(ageSeconds)) / (bytes + liveBytes);
};

/** The emptiest first, whatever its age: most is gained for what is moved now. */
export const emptinessOf: Worth = ({ bytes, liveBytes }) => (bytes - liveBytes) / bytes;

export interface Batch {
  /** Live bytes that may be moved. */
  readonly budgetBytes: number;
  /** Dead bytes that are enough. */
  readonly wantedBytes: number;
}

/**
 * The best victims, best first, until their dead bytes are as wanted. Those whose live bytes the
 * budget has no room for are passed over. Segments without live bytes are never among them: a
 * checkpoint is all that they need.
 */
export function chooseVictims(
  candidates: readonly SegmentUsage[],
  nowSeconds: number,
  { budgetBytes, wantedBytes }: Batch,
  worth: Worth = worthOf,
): SegmentUsage[] {
  const worthwhile = candidates.filter(
    ({ bytes, liveBytes }) => liveBytes > 0 && bytes - liveBytes >= LEAST_DEAD_SHARE * bytes,
  );
  const ranked = worthwhile
    .map((usage) => ({ usage, worth: worth(usage, nowSeconds) }))
    .toSorted((a, b) => b.worth - a.worth || a.usage.segment - b.usage.segment);
  const victims: SegmentUsage[] = [];
  let leftBytes = budgetBytes;
  let gainBytes = 0;
  for (const { usage } of ranked) {
    if (gainBytes >= wantedBytes) break;
    if (usage.liveBytes > leftBytes) continue;
    leftBytes -= usage.liveBytes;
    gainBytes += usage.bytes - usage.liveBytes;
    victims.push(usage);
  }
  return victims;
}

/**
 * What cleaning a segment gains, about: its dead bytes, less what the moved data is larger by; nothing
 * when it is not worth its move.
 */
export function gainOf({ bytes, liveBytes }: Pick<SegmentUsage, "bytes" | "liveBytes">): number {
  const gain = bytes - liveBytes * (1 + LEAST_DEAD_SHARE / 2);
  return bytes - liveBytes >= LEAST_DEAD_SHARE * bytes ? Math.max(0, gain) : 0;
}

/**
 * Each batch of what snapshots refer to writes the tables of the snapshots anew, of all of them at
 * most: with hundreds of snapshots of a large store that may be more than is gained.
 */
export function gainsMoreThanTables(
  victims: readonly SegmentUsage[],
  { tableBytes, batchBytes }: { readonly tableBytes: number; readonly batchBytes: number },
): boolean {
  let gainBytes = 0;
  let liveBytes = 0;
  for (const victim of victims) {
    gainBytes += gainOf(victim);
    liveBytes += victim.liveBytes;
  }
  return gainBytes >= tableBytes * Math.ceil(liveBytes / batchBytes);
}

/** The store as the policy sees it, bytes. */
export interface SpaceUse {
  /** Free on the device, or of the quota. */
  readonly freeBytes: number;
  /** Of all segments. */
  readonly usedBytes: number;
  /** What cleaning all that may be cleaned would gain. */
  readonly garbageBytes: number;
}

export interface Thresholds {
  /** Share of the used bytes that may be garbage before the cleaner works in the background. */
  readonly garbageShare: number;
  /** So much garbage is always left alone. */
  readonly leastGarbageBytes: number;
  /** Free space that is the cleaner's own: foreground operations wait below it. */
  readonly ownBytes: number;
  /** Below `ownBytes` plus this the cleaner works without pause. */
  readonly pressureBytes: number;
}

export type Need = "none" | "background" | "pressure";

export interface Goal {
  readonly need: Need;
  /** To be gained until there is no need any more. */
  readonly wantedBytes: number;
}

/**
 * Under pressure the cleaner goes on until twice the space is free at which it began; background work
 * ends a little below the share at which it begins: or it would never rest. `before`: the need that
 * it is working on.
 */
export function goalOf(space: SpaceUse, thresholds: Thresholds, before: Need): Goal {
  const { garbageShare, leastGarbageBytes, ownBytes, pressureBytes } = thresholds;
  const { freeBytes, usedBytes, garbageBytes } = space;
  const enough = ownBytes + 2 * pressureBytes;
  if (freeBytes < (before === "pressure" ? enough : enough - pressureBytes)) {
    return { need: "pressure", wantedBytes: enough - freeBytes };
  }
  const begin = Math.max(garbageShare * usedBytes, leastGarbageBytes);
  const rest = 0.9 * begin;
  if (garbageBytes <= (before === "background" ? rest : begin)) {
    return { need: "none", wantedBytes: 0 };
  }
  return { need: "background", wantedBytes: garbageBytes - rest };
}

/**
 * What applications can still write: free space and what cleaning gains, less what the cleaner needs
 * for itself.
 */
export function writableBytes({ freeBytes, garbageBytes }: SpaceUse, ownBytes: number): number {
  return Math.max(0, Math.floor(freeBytes + garbageBytes - ownBytes));
}
