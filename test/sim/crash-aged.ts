/**
 * File systems that have lived for a while, for short lives to begin with: several segments, half of
 * them garbage, snapshots that hold some of it, a disk that is more or less full. A seed always gives
 * the same one; a process makes each once.
 */
import { SmfsError } from "../../lib/errors.ts";
import { Prng } from "../../lib/prng.ts";
import { VirtualClock } from "./clock.ts";
import { CrashHistory, emptyModel } from "./crash-history.ts";
import { CrashMachine, diskOf } from "./crash-machine.ts";
import { SPACE_MIX } from "./crash-mix.ts";
import { CrashWorkload } from "./crash-workload.ts";
import { DiskImage } from "./disk-image.ts";

export interface Aged {
  /** All of it is on the platter. */
  readonly image: DiskImage;
  /** Its last state only. */
  readonly history: CrashHistory;
}

const KINDS = 64;
const known = new Map<number, Promise<Aged>>();

export function agedFileSystem(seed: number): Promise<Aged> {
  const kind = seed % KINDS;
  const made = known.get(kind) ?? makeAged(kind);
  known.set(kind, made);
  return made;
}

async function makeAged(seed: number): Promise<Aged> {
  const prng = new Prng(seed);
  const clock = new VirtualClock();
  const capacityBytes = prng.pick([260_000, 330_000, 400_000]);
  const disk = diskOf(clock, new DiskImage(), { capacityBytes });
  const machine = await CrashMachine.format(disk, clock);
  const history = new CrashHistory();
  history.add(emptyModel(), machine.headSequence(), "mkfs", [1]);
  await new CrashWorkload(prng, machine, history, SPACE_MIX).run(40 + prng.below(80));
  await machine.whenDurable();
  const image = disk.snapshot();
  image.settle();
  return { image, history: lastOf(history, machine.headSequence()) };
}

function lastOf(history: CrashHistory, sequence: number): CrashHistory {
  const last = history.states.at(-1);
  if (last === undefined) throw new SmfsError("NOT_FOUND", "a history without a state");
  const only = new CrashHistory([{ ...last, before: sequence - 1, sequence }], new Map(), 0);
  only.written = 0;
  return only;
}
