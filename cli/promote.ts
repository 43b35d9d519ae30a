/**
 * Promotion of a mirror's store that no process holds (DESIGN, "Mirroring"): a new term begins in
 * the log, durably, and only then does the store say that it is a primary's. A crash in between
 * leaves a mirror that refuses the old primary; promoting again finishes it.
 */
import { SmfsError } from "../lib/errors.ts";
import { EPOCH_REASON, firstEpochOf, termOf } from "../logfs/core/log/epoch.ts";
import { Log } from "../logfs/core/log/log.ts";
import type { DoomedTail } from "../logfs/core/log/recovery.ts";
import type { StoreRegistry } from "../logfs/log/registry.ts";
import { systemTime } from "../sys/time.ts";
import { keepDamagedTail, refuseUnlessWhole } from "./damaged-tail.ts";
import { closeLog, openStore } from "./site/primary.ts";

/** Gives the new term. `force`: also without records that the mirror has had and lost. */
export async function promoteOffline(
  registry: StoreRegistry,
  { force }: { readonly force: boolean },
): Promise<number> {
  const placement = registry.log;
  if (registry.role === "primary") {
    throw new SmfsError("USAGE", `${registry.path} is a primary's store already`);
  }
  if (placement === null) {
    throw new SmfsError(
      "USAGE",
      `${registry.path} has not received anything that could be promoted`,
    );
  }
  const store = openStore(placement.directory, null);
  try {
    const { segmentBytes, maxRecordBytes, ancestors } = placement;
    const beforeCut = (tail: DoomedTail): void => keepDamagedTail(registry, store, tail, null);
    const limits = { segmentBytes, maxRecordBytes, ancestors };
    const options = { ...limits, writerId: registry.storeId, follower: true, beforeCut };
    const recovered = Log.recover(store, options, systemTime);
    if (!recovered.ok) throw recovered.failure;
    const { log } = recovered;
    if (!force) refuseUnlessWhole(registry, log.head.sequence);
    if (log.checkpoint === null) {
      throw new SmfsError("USAGE", `${registry.path} has not received a whole file system yet`);
    }
    const term = Math.max(registry.term, termOf(log.epoch)) + 1;
    log.startEpoch(firstEpochOf(term), EPOCH_REASON.promoted);
    await closeLog(log);
    if (log.failure !== null) throw log.failure;
    registry.promote(term);
    return term;
  } finally {
    store.close();
  }
}
