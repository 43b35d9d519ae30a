/** What a site's file system may keep in memory, as configured and as its store has room for. */
import type { VolumeLimits } from "../../logfs/core/fs/volume.ts";
import type { FileSegmentStore } from "../../logfs/log/store.ts";
import type { Config } from "../config.ts";

/** The cleaner keeps space for two checkpoints free: they must not be much of a small store. */
const DIRTY_SHARE = 1 / 64;
/** Below it checkpoints write a node for nearly every change. */
const LEAST_DIRTY_BYTES = 16 * 2 ** 20;

export function volumeLimits(
  { store: { nodeCacheBytes: cacheBytes, dirtyLimitBytes } }: Config,
  store: Pick<FileSegmentStore, "space">,
): Pick<VolumeLimits, "cacheBytes" | "dirtyBytes"> {
  const fitting = Math.max(LEAST_DIRTY_BYTES, store.space().totalBytes * DIRTY_SHARE);
  return { cacheBytes, dirtyBytes: Math.min(dirtyLimitBytes, fitting) };
}
