/**
 * Promotion of a mirror's store that no process holds (DESIGN, "Mirroring"): a new term begins in
 * the log, durably, and only then does the store say that it is a primary's. A crash in between
 * leaves a mirror that refuses the old primary; promoting again finishes it.
 */
import { SmfsError } from "../lib/errors.ts";
import { EPOCH_REASON, firstEpochOf, termOf } from "../logfs/core/log/epoch.ts";
import { Log } from "../logfs/core/log/log.ts";
import type { StoreRegistry } from "../logfs/log/registry.ts";
import { systemTime } from "../sys/time.ts";
import { closeLog, openStore } from "./site/primary.ts";

/** Gives the new term. */
export async function promoteOffline(registry: StoreRegistry): Promise<number> {
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
    const { segmentBytes, maxRecordBytes } = placement;
    const options = { segmentBytes, maxRecordBytes, writerId: registry.storeId, follower: true };
    const recovered = Log.recover(store, options, systemTime);
    if (!recovered.ok) throw recovered.failure;
    const { log, report } = recovered;
    if (report.endedEarly) {
      const what =
        "the end of its log was cut short: let the primary send it again before promoting";
      throw new SmfsError("DAMAGED", `${registry.path}: ${what}`);
    }
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
