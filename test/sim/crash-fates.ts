/** What can become of a disk at one moment when the process dies or the power goes. */
import type { Prng } from "../../lib/prng.ts";
import { type DiskImage, randomSurvival, type Survival } from "./disk-image.ts";

export interface Fate {
  readonly what: string;
  readonly image: DiskImage;
  /** Whether only what was synced must be there, or everything that was written. */
  readonly survives: "durable" | "written";
}

/** Up to `limit` fates of the disk, chosen at random; more only when there are so many. */
export function fatesOf(image: DiskImage, prng: Prng, limit: number): Fate[] {
  const writes = image.pending().length;
  const fates = [
    () => kill(image, prng),
    () => powerLoss(image, "nothing unsynced is kept", NOTHING),
    () => powerLoss(image, "all is kept", ALL),
    () => powerLoss(image, "sectors are kept at random", randomSurvival(prng)),
    ...Array.from({ length: writes }, (_, i) => () => torn(image, i, prng)),
    ...Array.from({ length: Math.max(0, writes - 1) }, (_, i) => () => lost(image, i)),
  ];
  if (limit >= fates.length) return fates.map((make) => make());
  return Array.from({ length: limit }, () => prng.pick(fates)());
}

const shortest = (lengths: readonly number[]): number => lengths[0] as number;
const longest = (lengths: readonly number[]): number => lengths.at(-1) as number;

const NOTHING: Survival = { versionsKept: () => 0, length: shortest };
const ALL: Survival = { versionsKept: (versions) => versions.length, length: longest };

function powerLoss(image: DiskImage, what: string, survival: Survival): Fate {
  const left = image.copy();
  left.losePower(survival);
  return { what: `power loss: ${what}`, image: left, survives: "durable" };
}

/** The process dies; what it wrote is in the page cache still, and may be lost later. */
function kill(image: DiskImage, prng: Prng): Fate {
  const left = image.copy();
  left.loseProcess(({ bytes }) => prng.pick([0, bytes.length, prng.below(bytes.length + 1)]));
  return { what: "process killed", image: left, survives: "written" };
}

/** Everything before write `torn` is kept, of itself some sectors from its start. */
function torn(image: DiskImage, at: number, prng: Prng): Fate {
  const most = prng.below(40);
  let sectors = 0;
  const isKept = (index: number): boolean => index < at || (index === at && sectors++ < most);
  return powerLoss(image, `torn in write ${at}`, {
    versionsKept: (versions) => 1 + versions.findLastIndex((index) => isKept(index)),
    length: longest,
  });
}

/** Only write `at` is lost, as far as nothing later covers it: reordered. */
function lost(image: DiskImage, at: number): Fate {
  return powerLoss(image, `write ${at} of those pending is lost`, {
    versionsKept: (versions) => (versions.at(-1) === at ? versions.length - 1 : versions.length),
    length: longest,
  });
}
