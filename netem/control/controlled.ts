/** What every shell of an emulated path offers: commands, and counts. */
import type { PathStatistics } from "../core/path.ts";
import type { LinkChanges } from "../core/settings.ts";
import type { Direction } from "../core/timeline.ts";

export interface ShellStatistics extends PathStatistics {
  /** Refused by the kernel: nobody listens at a port, or a device is down. */
  readonly sendErrors: number;
  /** How far behind their time packets were delivered, summed; and the worst. */
  readonly lateMicrosTotal: number;
  readonly lateMicrosMax: number;
}

export interface ControlledPath<S extends ShellStatistics = ShellStatistics> {
  /** Throws `SmfsError` USAGE when a value makes no sense. */
  configure(direction: Direction, changes: LinkChanges): void;
  /** Nothing enters any more; what is on the wire travels on. */
  cut(direction?: Direction): void;
  restore(direction?: Direction): void;
  statistics(): S;
}
