/**
 * The end of a mirror's log that recovery is about to cut off, although records in it were durable
 * once: what stands there is kept for people first, and the store remembers that something is
 * missing until the primary has sent it again. So a promotion cannot pass over it unnoticed.
 */
import { closeSync, fsyncSync, writeFileSync } from "node:fs";
import { SmfsError } from "../lib/errors.ts";
import type { Logger } from "../lib/ports.ts";
import type { Address, SegmentStore } from "../logfs/core/log/api.ts";
import type { DoomedTail } from "../logfs/core/log/recovery.ts";
import type { StoreRegistry } from "../logfs/log/registry.ts";

const COPY_BYTES = 2 ** 20;

/** Durable when it returns. Throws what the copy meets; then nothing may be cut. */
export function keepDamagedTail(
  registry: StoreRegistry,
  store: SegmentStore,
  tail: DoomedTail,
  logger: Pick<Logger, "warn"> | null,
): void {
  for (const file of keepParts(registry, store, tail.parts)) {
    logger?.warn({ file, behind: tail.keptSequence }, "the damaged end of the log is kept aside");
  }
  registry.noteLoss(tail.lostSequence);
}

/** Copies what stands from these addresses to the ends of their files; gives the names of the copies. */
export function keepParts(
  registry: StoreRegistry,
  store: SegmentStore,
  parts: readonly Address[],
): string[] {
  const files: string[] = [];
  for (const part of parts) {
    const end = endOfWritten(store, part);
    if (end > part.offset) files.push(keepPart(registry, store, part, end));
  }
  return files;
}

/** Offset behind the last piece that is not all zeros: allocated space need not be kept. */
function endOfWritten(store: SegmentStore, { segment, offset }: Address): number {
  let end = offset;
  for (let at = offset; ; ) {
    const bytes = store.readSync(segment, at, COPY_BYTES);
    if (bytes.length === 0) return end;
    at += bytes.length;
    if (bytes.some((byte) => byte !== 0)) end = at;
  }
}

function keepPart(
  registry: StoreRegistry,
  store: SegmentStore,
  { segment, offset }: Address,
  end: number,
): string {
  const { fd, name } = registry.openDamaged(segment, offset);
  try {
    for (let at = offset; at < end; at += COPY_BYTES) {
      writeFileSync(fd, store.readSync(segment, at, Math.min(COPY_BYTES, end - at)));
    }
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  return name;
}

/** Throws `SmfsError` DAMAGED while the mirror lacks records that it once had. */
export function refuseUnlessWhole(registry: StoreRegistry, headSequence: number): void {
  const { lostSequence } = registry;
  if (lostSequence === null || headSequence >= lostSequence) return;
  const lost = `its log was damaged behind record ${headSequence}, and had at least record ${lostSequence}`;
  const advice = "let the primary send the rest again, or promote with --force to do without it";
  throw new SmfsError("DAMAGED", `${registry.path}: ${lost}; ${advice}`);
}
