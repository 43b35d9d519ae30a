/** Writing most of a checkpoint in steps, so that the checkpoint itself holds up no operation for long. */
import { setImmediate } from "node:timers/promises";
import type { TreeVolume } from "../../logfs/core/fs/volume.ts";

/** For what must come with a checkpoint. Rejects with what the log throws. */
export async function writeAhead(volume: TreeVolume): Promise<void> {
  while (volume.writeAhead()) await setImmediate();
}
