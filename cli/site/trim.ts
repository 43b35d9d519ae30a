/** What a running site does for `smfs trim` on the control socket, and says of its cleaner. */
import { SmfsError } from "../../lib/errors.ts";
import type { TrimResult } from "../../logfs/core/fs/cleaner/cleaner.ts";
import type { CleanerStatus } from "../../web/status-types.ts";
import type { ControlVerb } from "../control.ts";
import type { PrimarySite } from "./primary.ts";
import type { Site } from "./site.ts";

export interface TrimReport extends TrimResult {
  /** Of all segment files, before and after. */
  readonly storeBytesBefore: number;
  readonly storeBytes: number;
  readonly tookSeconds: number;
}

export function trimVerbs(site: Site): Record<string, ControlVerb> {
  return { "POST /trim": () => trim(site) };
}

async function trim({ role, registry }: Site): Promise<TrimReport> {
  if (role?.role !== "primary") {
    throw new SmfsError("USAGE", `${registry.path} is a mirror: its primary cleans for both`);
  }
  const { cleaner, store } = role;
  const startedMillis = Date.now();
  const storeBytesBefore = bytesOf(store);
  const result = await cleaner.trim(() => {});
  const tookSeconds = (Date.now() - startedMillis) / 1000;
  return { ...result, storeBytesBefore, storeBytes: bytesOf(store), tookSeconds };
}

function bytesOf(store: PrimarySite["store"]): number {
  return store.list().reduce((sum, { bytes }) => sum + bytes, 0);
}

export function describeCleaner({ cleaner, log, fileSystem }: PrimarySite): CleanerStatus {
  const { rounds, cleanedSegments, movedBytes, damagedBlocks } = cleaner.counters;
  const { waits, waitedMicros, refusals } = cleaner.gate.statistics;
  const { liveBytes, usedBytes } = cleaner.usage;
  const { writtenBytes } = fileSystem.statistics;
  return {
    rounds,
    cleanedSegments,
    movedBytes,
    damagedBlocks,
    setAsideSegments: cleaner.setAside.length,
    utilisation: usedBytes === 0 ? 0 : liveBytes / usedBytes,
    writeAmplification: writtenBytes === 0 ? null : log.statistics.bytesAppended / writtenBytes,
    gateWaits: waits,
    gateWaitSeconds: waitedMicros / 1e6,
    gateRefusals: refusals,
    waiting: cleaner.gate.waiting,
    trouble: cleaner.trouble,
  };
}
