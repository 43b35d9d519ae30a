/**
 * `smfs fsck --repair STORE`: says what it does, as it does it. With `--dry-run` all of it happens to a
 * shadow of the store, which is then forgotten.
 */
import { equalBytes } from "../lib/bytes.ts";
import { SmfsError } from "../lib/errors.ts";
import type { CheckReport } from "../logfs/core/fs/check.ts";
import { type RepairOptions, repairStore } from "../logfs/core/fs/repair.ts";
import { type RepairAction, RepairReport } from "../logfs/core/fs/repair-report.ts";
import type { SegmentStore } from "../logfs/core/log/api.ts";
import type { DoomedTail } from "../logfs/core/log/recovery.ts";
import { ShadowStore } from "../logfs/core/log/shadow.ts";
import { type LogPlacement, StoreRegistry } from "../logfs/log/registry.ts";
import { FileSegmentStore } from "../logfs/log/store.ts";
import { systemTime } from "../sys/time.ts";
import { keepDamagedTail, keepParts } from "./damaged-tail.ts";
import { FSCK_EXIT } from "./exit.ts";
import { jsonOf, linesOf } from "./fsck-report.ts";
import { openOffline } from "./offline.ts";
import { ProgressLine } from "./progress.ts";

export interface RepairFlags {
  readonly json?: true;
  readonly deep?: true;
  readonly memory: number;
  readonly from?: string;
  readonly zeroDamaged?: true;
  readonly dryRun?: true;
}

/** Gives the exit code. */
export async function repairCommand(path: string, flags: RepairFlags): Promise<number> {
  const registry = StoreRegistry.open(path);
  const placement = registry.log;
  if (placement === null) throw new SmfsError("NOT_FOUND", `${path} holds no log yet`);
  const mirror = flags.from === undefined ? null : openCopy(flags.from, placement);
  const { store, close } = openTarget(path, placement, flags);
  const progress = new ProgressLine();
  const report = new RepairReport((action) => {
    progress.end();
    if (!flags.json) process.stdout.write(lineOf(action, flags));
  });
  try {
    const keeper = flags.dryRun ? NOTHING_TO_KEEP : keeperOf(registry, store);
    const options = repairOptions(registry, placement, mirror?.store ?? null, flags, keeper);
    const onProgress = (step: string, share: number): void => progress.show(share, () => step);
    const check = await repairStore(store, { ...options, onProgress }, systemTime, report);
    progress.end();
    printEnd(path, check, report, progress.elapsedSeconds, flags);
    return exitCodeOf(check, report);
  } finally {
    progress.end();
    mirror?.close();
    close();
  }
}

function repairOptions(
  registry: StoreRegistry,
  { id, segmentBytes, maxRecordBytes, ancestors }: LogPlacement,
  mirror: SegmentStore | null,
  flags: RepairFlags,
  { beforeCut, keepAside }: Keeper,
): RepairOptions {
  const follower = registry.role === "mirror";
  const mayAppend = !follower && registry.fencedBy === null;
  return {
    log: {
      segmentBytes,
      maxRecordBytes,
      ancestors,
      writerId: registry.storeId,
      follower,
      beforeCut,
    },
    logId: id,
    term: registry.term,
    extent: mayAppend ? "everything" : "patch",
    keepAside,
    mirror,
    depth: flags.deep || flags.zeroDamaged ? "data" : "structure",
    damagedData: flags.zeroDamaged ? "zero" : "leave",
    memoryBytes: flags.memory,
  };
}

/** What is cut off goes to `setaside/` first. */
interface Keeper {
  readonly beforeCut: (tail: DoomedTail) => void;
  readonly keepAside: RepairOptions["keepAside"];
}

const NOTHING_TO_KEEP: Keeper = { beforeCut: () => {}, keepAside: () => {} };

function keeperOf(registry: StoreRegistry, store: SegmentStore): Keeper {
  return {
    beforeCut: (tail) => keepDamagedTail(registry, store, tail, null),
    keepAside: (parts) => void keepParts(registry, store, parts),
  };
}

interface Target {
  readonly store: SegmentStore;
  readonly close: () => void;
}

function openTarget(path: string, { directory }: LogPlacement, { dryRun }: RepairFlags): Target {
  if (dryRun) {
    const { files, close } = openOffline(path, "keep out");
    return { store: new ShadowStore(files), close };
  }
  const store = new FileSegmentStore(directory);
  return { store, close: () => store.close() };
}

/** Another site's store, copied or mounted: its log must be a copy of this one. */
function openCopy(path: string, { id }: LogPlacement): Target {
  const { placement, files, close } = openOffline(path, "let be");
  if (equalBytes(placement.id, id)) return { store: files, close };
  close();
  throw new SmfsError("OTHER_HISTORY", `--from: ${path} holds another log, not a copy of this one`);
}

function lineOf({ outcome, inode, what }: RepairAction, { dryRun }: RepairFlags): string {
  const verb = dryRun && outcome === "repaired" ? "would repair" : outcome;
  return `${verb}: ${inode === null ? "" : `inode ${inode}: `}${what}\n`;
}

function printEnd(
  path: string,
  check: CheckReport,
  report: RepairReport,
  seconds: number,
  flags: RepairFlags,
): void {
  const result = { path, found: [], report: check, seconds };
  if (!flags.json) {
    process.stdout.write(linesOf(result));
    return;
  }
  const { actions, repaired, left } = report;
  const dryRun = flags.dryRun ?? false;
  const document = { ...jsonOf(result), dryRun, repaired, left, actions };
  process.stdout.write(`${JSON.stringify(document)}\n`);
}

function exitCodeOf(check: CheckReport, { repaired }: RepairReport): number {
  const isWhole = check.complete && check.errors + check.warnings === 0;
  if (!isWhole) return FSCK_EXIT.uncorrected;
  return repaired > 0 ? FSCK_EXIT.corrected : FSCK_EXIT.clean;
}
