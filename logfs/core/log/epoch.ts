/**
 * Epochs (ARCHITECTURE, "Epochs"): term × 2^32 + incarnation. Opening a log for writing raises the
 * incarnation, promotion the term.
 */
const INCARNATIONS = 2 ** 32;

/** `EpochStart.reason`: why a writer began. */
export const EPOCH_REASON = { created: 1, opened: 2, promoted: 3, forked: 4 } as const;

/** Promotions so far. */
export function termOf(epoch: number): number {
  return Math.floor(epoch / INCARNATIONS);
}

export function firstEpochOf(term: number): number {
  return term * INCARNATIONS;
}
