/** A small file system that has lived: for tests that damage or change it. */
import { Prng } from "../../lib/prng.ts";
import { VirtualClock } from "./clock.ts";
import { CrashHistory, emptyModel } from "./crash-history.ts";
import { CrashMachine, diskOf } from "./crash-machine.ts";
import { CrashWorkload } from "./crash-workload.ts";
import { DiskImage } from "./disk-image.ts";

export interface LivedIn {
  /** All of it is on the platter. */
  readonly image: DiskImage;
  readonly history: CrashHistory;
  /** Records that a later record vouches for: whoever loses one of them is damaged. */
  readonly vouchedSequence: number;
}

export async function liveIn(seed: number, operations: number): Promise<LivedIn> {
  const clock = new VirtualClock();
  const disk = diskOf(clock, new DiskImage(), { capacityBytes: 2 ** 21 });
  const machine = await CrashMachine.format(disk, clock);
  const history = new CrashHistory();
  history.add(emptyModel(), machine.headSequence(), "mkfs", [1]);
  const workload = new CrashWorkload(new Prng(seed), machine, history);
  await workload.run(operations);
  await machine.whenDurable();
  const vouchedSequence = machine.headSequence();
  // One record more, which says so.
  machine.volume.checkpoint("always");
  await machine.whenDurable();
  const image = disk.snapshot();
  image.settle();
  return { image, history, vouchedSequence };
}
