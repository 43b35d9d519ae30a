/**
 * Reads race with the dropping of segments: between the look into the tree, which says where bytes
 * stand, and the read of them, the cleaner may have moved the bytes, and the segment may be gone. The
 * tree points elsewhere then, so what was planned is planned again. (A read that has reached the
 * disk is not disturbed: an unlinked file stays readable.)
 */
import { SmfsError } from "../../../lib/errors.ts";
import type { MaybePromise } from "../vfs.ts";
import { orElse } from "./maybe.ts";

/** Segments are dropped a checkpoint after they died: a plan that is old thrice is wrong. */
const MAX_PLANS = 4;

/**
 * Runs `attempt`, from a look into the tree to the last read, again while it meets a segment that is
 * not there. Throws or rejects with `SmfsError` DAMAGED when the tree itself points into one, and
 * with whatever else `attempt` does.
 */
export function planAgain<T>(attempt: () => MaybePromise<T>): MaybePromise<T> {
  return attemptTimes(attempt, MAX_PLANS);
}

function attemptTimes<T>(attempt: () => MaybePromise<T>, left: number): MaybePromise<T> {
  return orElse(attempt, (error) => {
    if (!(error instanceof SmfsError) || error.code !== "NOT_FOUND") throw error;
    if (left > 1) return attemptTimes(attempt, left - 1);
    throw new SmfsError("DAMAGED", `the tree points to what is gone: ${error.message}`, error);
  });
}
