/** Walks a directory batch after batch for readdir. */
import type { DirectoryEntry, MaybePromise } from "../vfs.ts";
import type { Listed } from "./names.ts";

/** Entries taken from the tree at once. */
export const LISTING_BATCH = 64;

type Visit = (entry: DirectoryEntry) => boolean;

/**
 * Calls `visit` for each entry that `list` gives (up to `LISTING_BATCH` behind a cookie), in a loop
 * while they come at once, so that the stack stays flat. `visit` is called once an entry, because
 * it runs outside the operation, which may be run again.
 */
export function visitEntries(
  list: (cookie: number) => MaybePromise<Listed[]>,
  cookie: number,
  visit: Visit,
): MaybePromise<void> {
  for (let from: number | undefined = cookie; from !== undefined; ) {
    const batch = list(from);
    if (batch instanceof Promise) {
      return batch.then((entries) => {
        const next = visitAll(entries, visit);
        return next === undefined ? undefined : visitEntries(list, next, visit);
      });
    }
    from = visitAll(batch, visit);
  }
}

/** The cookie to go on from; undefined when there is no more, or `visit` wants no more. */
function visitAll(entries: readonly Listed[], visit: Visit): number | undefined {
  for (const entry of entries) if (!visit(entry)) return undefined;
  return entries.length < LISTING_BATCH ? undefined : entries.at(-1)?.cookie;
}
