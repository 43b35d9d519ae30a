/** What the decoder (`decoder.ts`) and the solvers of each kind of repair know of one another. */
import type { DecoderWindow } from "./decoder-window.ts";

/** Ids `first + n × stride`, 0 ≤ n < `count`, all inside the window. */
export interface Members {
  readonly first: number;
  readonly count: number;
  readonly stride: number;
}

interface SolverStatistics {
  unused: number;
  /** Repairs whose result had an impossible length or bytes behind its end. */
  inconsistentRepairs: number;
}

export interface SolverHost {
  readonly window: DecoderWindow;
  readonly statistics: SolverStatistics;
  /** The window's block of `id` holds its symbol now, and is marked. */
  noteRebuilt(id: number): void;
}
