/** A store's files as they are, opened to be looked at: nothing is written, not even by accident. */
import { SmfsError } from "../lib/errors.ts";
import type { RecoverOptions } from "../logfs/core/log/log.ts";
import { keepWritersOut } from "../logfs/log/lock.ts";
import { type LogPlacement, StoreRegistry } from "../logfs/log/registry.ts";
import { FileSegmentStore } from "../logfs/log/store.ts";

export interface OfflineStore {
  readonly registry: StoreRegistry;
  readonly placement: LogPlacement;
  readonly files: FileSegmentStore;
  /** How its log is opened. */
  readonly options: RecoverOptions;
  readonly close: () => void;
}

/**
 * `writers`: "keep out" fails BUSY while a site runs on the store, and keeps others from starting;
 * "let be" looks at whatever is there. Throws `SmfsError` NOT_FOUND, DAMAGED, IO.
 */
export function openOffline(path: string, writers: "keep out" | "let be"): OfflineStore {
  const registry = StoreRegistry.open(path);
  const placement = registry.log;
  if (placement === null) throw new SmfsError("NOT_FOUND", `${path} holds no log yet`);
  const release = writers === "keep out" ? keepSitesOut(path, placement.directory) : () => {};
  try {
    const files = new FileSegmentStore(placement.directory, { readOnly: true });
    const { segmentBytes, maxRecordBytes, ancestors } = placement;
    const follower = registry.role === "mirror";
    const options = { segmentBytes, maxRecordBytes, ancestors, follower };
    const close = (): void => {
      files.close();
      release();
    };
    return { registry, placement, files, options, close };
  } catch (error) {
    release();
    throw error;
  }
}

function keepSitesOut(path: string, directory: string): () => void {
  try {
    return keepWritersOut(directory);
  } catch (error) {
    if (!(error instanceof SmfsError) || error.code !== "BUSY") throw error;
    const hint = `unmount it first, or let the running site read everything with 'smfs scrub ${path}'`;
    throw new SmfsError("BUSY", `${path} is in use: a site or another check runs on it; ${hint}`);
  }
}
