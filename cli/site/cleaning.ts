/** The cleaner of a primary's log: wired to the store below it, and to the mirror that may hold it up. */
import { SmfsError } from "../../lib/errors.ts";
import type { Clock, Logger, Timers } from "../../lib/ports.ts";
import { Cleaner } from "../../logfs/core/fs/cleaner/cleaner.ts";
import type { TreeVolume } from "../../logfs/core/fs/volume.ts";
import type { Log } from "../../logfs/core/log/log.ts";
import type { StoreRegistry } from "../../logfs/log/registry.ts";
import type { FileSegmentStore } from "../../logfs/log/store.ts";
import type { Config } from "../config.ts";
import { volumeLimits } from "./limits.ts";

/** A copy of the log that must have a checkpoint before segments are dropped: `PrimarySession`. */
interface Copy {
  readonly state: string;
  readonly durableSequence: number;
}

export interface CleanedParts {
  readonly registry: StoreRegistry;
  readonly log: Log;
  readonly store: FileSegmentStore;
  readonly volume: TreeVolume;
  /** null: there is no mirror, or nobody waits for it any more. */
  readonly copy: Copy | null;
}

export function newCleaner(
  { registry, log, store, volume, copy }: CleanedParts,
  config: Config,
  time: Clock & Timers,
  logger: Logger,
): Cleaner {
  const ports = {
    log,
    volume,
    time,
    space: () => store.space(),
    restoreReserve: () => store.restoreReserve(),
    obstacle: () => obstacleOf(copy, log),
    onTrouble: (reason: string) => logger.warn({ reason }, "cleaner"),
  };
  const placement = registry.log;
  if (placement === null) throw new SmfsError("NOT_FOUND", `${registry.path} holds no log yet`);
  const { segmentBytes, maxRecordBytes } = placement;
  const { garbageShare } = config.store;
  const { dirtyBytes } = volumeLimits(config, store);
  return new Cleaner(ports, { segmentBytes, maxRecordBytes, garbageShare, dirtyBytes });
}

/** A mirror that is not connected, and lacks something, keeps all segments that it may yet need. */
function obstacleOf(copy: Copy | null, log: Log): string | null {
  if (copy === null || copy.state === "streaming") return null;
  if (copy.durableSequence >= log.durableSequence) return null;
  return `its dead segments wait for the mirror, which is ${copy.state}`;
}
