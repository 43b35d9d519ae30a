/** Scrubs of a running site: one at a time, on the control socket, in the status and the metrics. */
import { SmfsError } from "../../lib/errors.ts";
import { type FetchCopy, Scrub } from "../../logfs/core/log/scrub.ts";
import { systemTime } from "../../sys/time.ts";
import type { ScrubStatus } from "../../web/status-types.ts";
import type { ControlVerb } from "../control.ts";
import type { ScrubReport } from "../scrub-report.ts";
import type { Site } from "./site.ts";

export class SiteScrub {
  private current: Scrub | null = null;
  /** Of those before the current one. */
  private readonly before = { bytes: 0, damaged: 0, repaired: 0 };

  start({ role }: Site, bytesPerSecond: number): void {
    if (this.current?.progress.state === "running") {
      throw new SmfsError("BUSY", "a scrub is under way; --status says how far it is");
    }
    const log = role?.log;
    const store = role?.store;
    if (!role || !log || !store) throw new SmfsError("BUSY", "the log is not open");
    this.keepCounts();
    const fetch = copiesFrom(role.session);
    this.current = new Scrub({ log, store, time: systemTime, bytesPerSecond, fetch });
  }

  /** Resolves when it no longer uses the store. */
  async stop(): Promise<void> {
    this.current?.stop();
    await this.current?.ended;
  }

  get report(): ScrubReport {
    return { schemaVersion: 1, scrub: this.current?.progress ?? null };
  }

  get status(): ScrubStatus | null {
    const progress = this.current?.progress;
    if (progress === undefined) return null;
    const { state, scrubbedBytes, totalBytes, damaged, repaired } = progress;
    const { before } = this;
    return {
      state,
      scrubbedBytes,
      totalBytes,
      damaged,
      repaired,
      scrubbedBytesTotal: before.bytes + scrubbedBytes,
      damagedTotal: before.damaged + damaged,
      repairedTotal: before.repaired + repaired,
    };
  }

  private keepCounts(): void {
    const progress = this.current?.progress;
    if (progress === undefined) return;
    this.before.bytes += progress.scrubbedBytes;
    this.before.damaged += progress.damaged;
    this.before.repaired += progress.repaired;
  }
}

function copiesFrom(session: { readCopy: FetchCopy } | null): FetchCopy | null {
  return session === null ? null : (address, length) => session.readCopy(address, length);
}

export function scrubVerbs(site: Site): Record<string, ControlVerb> {
  return {
    "GET /scrub": () => site.scrub.report,
    "POST /scrub": (query) => site.scrub.start(site, rateIn(query)),
    "POST /scrub/stop": () => site.scrub.stop(),
  };
}

function rateIn(query: URLSearchParams): number {
  const rate = Number(query.get("rate"));
  if (Number.isFinite(rate) && rate > 0) return rate;
  throw new SmfsError("USAGE", "rate: bytes per second");
}
