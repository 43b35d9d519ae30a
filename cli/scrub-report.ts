/** A scrub as the control socket and `smfs scrub` say it. */
import { formatBytes } from "../lib/units.ts";
import type { ScrubFinding, ScrubProgress } from "../logfs/core/log/scrub.ts";

export interface ScrubReport {
  readonly schemaVersion: 1;
  /** The one that runs, or the last one; null: none since the site was started. */
  readonly scrub: ScrubProgress | null;
}

export function describeScrub({ scrub }: ScrubReport, nowMicros: number): string {
  if (scrub === null) return "no scrub since the site was started\n";
  const { state, reason, scrubbedBytes, totalBytes, records, damaged, repaired } = scrub;
  const seconds = ((scrub.endedMicros ?? nowMicros) - scrub.startedMicros) / 1e6;
  const share = totalBytes === 0 ? 1 : scrubbedBytes / totalBytes;
  const rate = seconds === 0 ? 0 : scrubbedBytes / seconds;
  const lines = [
    `scrub ${state}${reason === null ? "" : `: ${reason}`}, ${(share * 100).toFixed(1)}% of ${formatBytes(totalBytes)} in ${seconds.toFixed(0)} s, ${formatBytes(rate)}/s`,
    `${records} records read, ${damaged} damaged, ${repaired} of them repaired`,
    ...scrub.findings.map(lineOf),
  ];
  return `${lines.join("\n")}\n`;
}

function lineOf({ outcome, segment, offset, bytes, sequence, problem }: ScrubFinding): string {
  const what = sequence === null ? "" : `record ${sequence} `;
  return `${outcome}: ${what}segment ${segment} offset ${offset}, ${bytes} bytes: ${problem}`;
}
