/** What the cleaner counts; metrics are made of it in `cli/`. */
export interface CleanerCounters {
  rounds: number;
  failedRounds: number;
  /** Victims that were emptied. */
  cleanedSegments: number;
  /** File data and attribute values that were written again. */
  movedBytes: number;
  movedPieces: number;
  /** Tree nodes that a checkpoint moved because their segment was cleaned. */
  movedNodes: number;
  /** Stored blocks that do not match their checksum, found while cleaning. */
  damagedBlocks: number;
}

export function newCounters(): CleanerCounters {
  return {
    rounds: 0,
    failedRounds: 0,
    cleanedSegments: 0,
    movedBytes: 0,
    movedPieces: 0,
    movedNodes: 0,
    damagedBlocks: 0,
  };
}
