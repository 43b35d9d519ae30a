/** What a running site answers about its quota on the control socket. */
import { SmfsError } from "../../lib/errors.ts";
import type { ControlVerb } from "../control.ts";
import { writeAhead } from "./ahead.ts";
import { type QuotaChange, type QuotaReport, quotaOf, quotaReport } from "../quota-report.ts";
import type { Site } from "./site.ts";

export function quotaVerbs(site: Site): Record<string, ControlVerb> {
  return {
    "GET /quota": () => report(site),
    "POST /quota": (query) =>
      set(site, { bytes: limitIn(query, "bytes"), inodes: limitIn(query, "inodes") }),
  };
}

/** undefined: not said. */
function limitIn(query: URLSearchParams, what: "bytes" | "inodes"): number | undefined {
  const text = query.get(what);
  if (text === null) return undefined;
  const limit = Number(text);
  if (Number.isSafeInteger(limit) && limit >= 0) return limit;
  throw new SmfsError("USAGE", `${what}: a whole number, 0 for no limit`);
}

function report({ role }: Site): QuotaReport {
  const volume = role?.volume;
  if (!volume) throw new SmfsError("BUSY", "the file system is not open");
  return quotaReport(volume.statistics);
}

async function set(site: Site, change: QuotaChange): Promise<QuotaReport> {
  const { role, registry } = site;
  if (role?.role !== "primary") {
    throw new SmfsError("USAGE", `${registry.path} is a mirror: its quota is that of its primary`);
  }
  const { volume, committer, sync } = role;
  await writeAhead(volume);
  volume.setQuota(quotaOf(volume.statistics.quota, change));
  await committer.wait(volume.headSequence, sync.fsync);
  return quotaReport(volume.statistics);
}
