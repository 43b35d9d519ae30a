/**
 * How often which operation comes. Every life has a mix of its own, in which some operations are
 * missing and others come all the time: such lives reach corners that an even mix reaches seldom
 * (Groce et al., "Swarm Testing", ISSTA 2012).
 */
import type { Prng } from "../../lib/prng.ts";

const EVEN = {
  make: 15,
  write: 27,
  truncate: 7,
  allocate: 5,
  setxattr: 6,
  link: 3,
  rename: 6,
  remove: 6,
  openOrClose: 4,
  writeOpen: 2,
  checkpoint: 2.5,
  copy: 4,
  snapshot: 4,
  quota: 1,
  clean: 2,
  sync: 9,
};

export type OperationName = keyof typeof EVEN;
export type Mix = Readonly<Record<OperationName, number>>;

export const EVEN_MIX: Mix = EVEN;
/** What makes segments half dead, snapshots that hold them, and a cleaner that moves them. */
export const SPACE_MIX: Mix = { ...EVEN, write: 40, remove: 10, copy: 8, snapshot: 10, clean: 10 };

const NAMES = Object.keys(EVEN) as OperationName[];

export function randomMix(prng: Prng): Mix {
  const base = prng.pick([EVEN_MIX, SPACE_MIX]);
  const mix = { ...base };
  for (const name of NAMES) mix[name] *= prng.pick([0, 1, 1, 3]);
  // Without these two nothing would ever be there.
  mix.make = Math.max(mix.make, 1);
  mix.write = Math.max(mix.write, 1);
  return mix;
}

export function pickFrom(mix: Mix, prng: Prng): OperationName {
  let left = prng.float() * NAMES.reduce((sum, name) => sum + mix[name], 0);
  for (const name of NAMES) {
    left -= mix[name];
    if (left < 0) return name;
  }
  return "write";
}
