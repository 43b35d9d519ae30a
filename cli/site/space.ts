/** What a running site answers about its space on the control socket. */
import { SmfsError } from "../../lib/errors.ts";
import type { ControlVerb } from "../control.ts";
import { type SpaceReport, spaceReport } from "../df-report.ts";
import type { Site } from "./site.ts";

export function spaceVerbs(site: Site): Record<string, ControlVerb> {
  return { "GET /space": () => report(site) };
}

function report({ role, registry }: Site): SpaceReport {
  const { volume, store } = role ?? {};
  const use = volume && store ? volume.measureSpace(store.list()) : null;
  if (!volume || !store || use === null) {
    throw new SmfsError("BUSY", "the file system is not open");
  }
  return spaceReport(registry.path, store, use, volume.statistics, volume.keptSnapshots.length);
}
