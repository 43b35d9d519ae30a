/** Everything a site is told, in plain numbers; made from the configuration file and the flags. */
import type { CodeParameters } from "../../gateway/core/code.ts";
import type { SyncOptions } from "../../logfs/core/fs/api.ts";
import type { OnUnreachable } from "../../mirror/core/commit.ts";

export interface SiteSettings {
  readonly storePath: string;
  readonly capacityBytes: number | null;
  readonly commitIntervalMicros: number;
  readonly nodeCacheBytes: number;
  readonly dirtyBytes: number;
  /** null: serve the store without mounting it. */
  readonly mountPoint: string | null;
  readonly allowOther: boolean;
  /** As asked for; levels that need a mirror end at `local` when there is none. */
  readonly sync: SyncOptions;
  readonly onUnreachable: OnUnreachable;
  readonly timeoutMicros: number;
  /** null: no mirror. */
  readonly link: LinkSettings | null;
  /** host:port of the status page; null: none. */
  readonly statusListen: string | null;
}

export interface LinkSettings {
  /** host:port; one of the two. */
  readonly listen: string | null;
  readonly peer: string | null;
  readonly keyFile: string;
  readonly rateBitsPerSecond: number;
  readonly targetRisk: number;
  readonly code: CodeParameters;
  readonly datagramBytes: number;
}
