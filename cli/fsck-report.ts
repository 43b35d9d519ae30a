/** What a check found, as lines for people and as an object for programs. */
import { formatBytes } from "../lib/units.ts";
import type { CheckReport } from "../logfs/core/fs/check.ts";
import type { Finding, Severity } from "../logfs/core/fs/check-findings.ts";
import { printable } from "./debug-items.ts";

/** About the log below the file system. */
export interface LogFinding {
  readonly severity: Severity;
  readonly what: string;
}

export interface FsckResult {
  readonly path: string;
  readonly found: readonly LogFinding[];
  /** null: there was nothing that could be checked. */
  readonly report: CheckReport | null;
  readonly seconds: number;
}

export function jsonOf({ path, found, report, seconds }: FsckResult): object {
  const ofLog = found.map((finding) => ({ problem: "log", ...finding }));
  const errorsOfLog = found.filter(({ severity }) => severity === "error").length;
  const ofTrees = (report?.findings ?? []).map((finding) => ({
    ...finding,
    path: pathOf(finding),
  }));
  return {
    schemaVersion: 2,
    store: path,
    sequence: report?.sequence ?? 0,
    complete: report?.complete ?? false,
    errors: errorsOfLog + (report?.errors ?? 0),
    warnings: report?.warnings ?? 0,
    findings: [...ofLog, ...ofTrees],
    totals: report?.totals ?? null,
    seconds,
    verifiedBytesPerSecond: rateOf(report, seconds),
  };
}

export function linesOf({ path, found, report, seconds }: FsckResult): string {
  const lines = found.map(({ severity, what }) => `${severity}: ${what}`);
  if (report === null)
    return `${[...lines, `${path}: DAMAGED, could not be checked`].join("\n")}\n`;
  for (const finding of report.findings) lines.push(lineOf(finding));
  const { errors, warnings, findings, totals } = report;
  const more = errors + warnings - findings.length;
  if (more > 0) lines.push(`… and ${more} more`);
  const errorsOfLog = found.filter(({ severity }) => severity === "error").length;
  const isWhole = errors + errorsOfLog === 0 && report.complete;
  const verdict = isWhole ? (warnings === 0 ? "whole" : "whole but for counts") : "DAMAGED";
  const counts = Object.entries(totals).map(([name, count]) => `${name} ${count}`);
  const rate = rateOf(report, seconds);
  const speed = rate === 0 ? "" : `, ${formatBytes(rate)}/s`;
  lines.push(
    `${path}: ${verdict} at record ${report.sequence}: ${errors + errorsOfLog} errors, ${warnings} warnings; ${counts.join(", ")}; ${seconds.toFixed(1)} s${speed}`,
  );
  return `${lines.join("\n")}\n`;
}

function lineOf(finding: Finding): string {
  const { severity, inode, snapshot, what, address } = finding;
  const where = address === null ? "" : ` (segment ${address.segment} offset ${address.offset})`;
  const tree = snapshot === null ? "" : `snapshot ${snapshot}: `;
  const name = pathOf(finding);
  const of = inode === null ? "" : `inode ${inode}${name === null ? "" : ` ${name}`}: `;
  return `${severity}: ${tree}${of}${what}${where}`;
}

function pathOf({ path, inode, snapshot }: Finding): string | null {
  if (inode === null || snapshot !== null) return null;
  return path === null ? "(lost)" : printable(path);
}

function rateOf(report: CheckReport | null, seconds: number): number {
  return seconds === 0 ? 0 : Math.round((report?.totals.verifiedBytes ?? 0) / seconds);
}
