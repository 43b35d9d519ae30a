/**
 * The files of a fork: segments of another log, under the same numbers. A sealed segment is never
 * written to again, so both logs have the same file, by a hard link, and each removes its own name;
 * where links cannot be had (another device, too many of them), it is copied.
 *
 * The segment that is still written to is copied up to a record and closed with a seal.
 */
import {
  closeSync,
  copyFileSync,
  constants,
  fsyncSync,
  ftruncateSync,
  linkSync,
  openSync,
} from "node:fs";
import { SmfsError } from "../../lib/errors.ts";
import { PAGE_BYTES } from "../core/log/options.ts";
import { codeOf, guard } from "./failures.ts";
import { segmentPath } from "./files.ts";
import { copyBytes, syncDirectory, writeBytesNow } from "./transfer.ts";

/** Reasons why link(2) fails although the file can be copied. */
const COPIED_INSTEAD = new Set<unknown>(["EXDEV", "EMLINK", "EPERM", "EOPNOTSUPP", "ENOSYS"]);

export interface SharedFiles {
  readonly linked: number;
  readonly copied: number;
}

/** In ascending order. Durable when it returns. Throws `SmfsError` NOT_FOUND (a segment is gone), NO_SPACE, IO. */
export function shareSegments(from: string, to: string, segments: readonly number[]): SharedFiles {
  let linked = 0;
  for (const segment of segments) {
    const isLinked = guard(`sharing segment ${segment}`, () => shareOne(from, to, segment));
    if (isLinked) linked++;
  }
  guard("syncing the fork", () => {
    // A log goes on behind a segment when that is durable: only the newest may not be yet.
    const newest = segments.at(-1);
    if (newest !== undefined) syncFile(segmentPath(to, newest));
    syncDirectory(to);
  });
  return { linked, copied: segments.length - linked };
}

function shareOne(from: string, to: string, segment: number): boolean {
  const [source, target] = [segmentPath(from, segment), segmentPath(to, segment)];
  try {
    linkSync(source, target);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") {
      throw new SmfsError(
        "NOT_FOUND",
        `segment ${segment} is gone: was the snapshot removed?`,
        error,
      );
    }
    if (!COPIED_INSTEAD.has(codeOf(error))) throw error;
  }
  copyFileSync(source, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  syncFile(target);
  return false;
}

function syncFile(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** The first `bytes` of a segment, then `seal`. Durable when it returns. Throws `SmfsError` NO_SPACE, IO. */
export function copyClosed(
  from: string,
  to: string,
  segment: number,
  bytes: number,
  seal: Uint8Array,
): void {
  guard(`copying segment ${segment}`, () => {
    const source = openSync(segmentPath(from, segment), "r");
    const target = openSync(segmentPath(to, segment), "wx", 0o600);
    try {
      copyBytes(source, target, bytes);
      writeBytesNow(target, bytes, seal);
      ftruncateSync(target, Math.ceil((bytes + seal.length) / PAGE_BYTES) * PAGE_BYTES);
      fsyncSync(target);
    } finally {
      closeSync(source);
      closeSync(target);
    }
    syncDirectory(to);
  });
}
