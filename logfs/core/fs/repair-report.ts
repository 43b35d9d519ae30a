/** What a repair did, and what it could not do: a bounded list, and how much there was in all. */
import type { Address } from "../log/api.ts";

export interface RepairAction {
  /** What kind of thing was wrong: a `Problem` of a check, or "log", "tail", "superblock", "salvage". */
  readonly problem: string;
  readonly inode: number | null;
  readonly what: string;
  readonly address: Address | null;
  readonly outcome: "repaired" | "left";
}

const MAX_ACTIONS = 10_000;

export class RepairReport {
  readonly actions: RepairAction[] = [];
  repaired = 0;
  left = 0;
  private readonly onAction: (action: RepairAction) => void;

  /** `onAction` is told each as it happens, however many there are. */
  constructor(onAction: (action: RepairAction) => void) {
    this.onAction = onAction;
  }

  done(problem: string, what: string, address: Address | null = null, inode: number | null = null) {
    this.repaired++;
    this.add({ problem, inode, what, address, outcome: "repaired" });
  }

  /** It stays as it is. */
  leave(
    problem: string,
    what: string,
    address: Address | null = null,
    inode: number | null = null,
  ) {
    this.left++;
    this.add({ problem, inode, what, address, outcome: "left" });
  }

  private add(action: RepairAction): void {
    if (this.actions.length < MAX_ACTIONS) this.actions.push(action);
    this.onAction(action);
  }
}
