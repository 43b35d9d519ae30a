/**
 * `fsck --repair`: makes a damaged store whole again, as far as there is anything to make it from.
 *
 * 1. Bytes (`mend.ts`): what does not verify is taken from a mirror, at the same address.
 * 2. The log: opening cuts a torn tail. A log that does not open is ended behind the damage and goes
 *    on in a new segment (`bridge.ts`).
 * 3. The tree (`repair-tree.ts`): the newest checkpoint that can be read, what the log still has of
 *    lost nodes, and the records behind it.
 * 4. The file system (`repair-fixes.ts`): names, links, sizes, by ordinary records.
 * 5. Counters and tables, by a checkpoint that says what was counted.
 * A store without findings is not written to. Everything from 2 on makes new records, so only a
 * primary's store gets it: a mirror's is repaired by 1, or follows its primary.
 *
 * A crash in between leaves a log that repairing again takes further: 1 writes only over damage, 2 to
 * 5 only append.
 */
import { FsError, messageOf, SmfsError } from "../../../lib/errors.ts";
import type { Clock, Timers } from "../../../lib/ports.ts";
import { bridgeLog } from "../log/bridge.ts";
import { EPOCH_REASON, firstEpochOf } from "../log/epoch.ts";
import { Log, type RecoverOptions } from "../log/log.ts";
import { mendLog, summarizeLog } from "../log/mend.ts";
import { describeAddress } from "../log/record.ts";
import type { Address, SegmentStore } from "../log/api.ts";
import { NodeCache } from "./cache.ts";
import { type CheckOptions, type CheckReport, checkVolume } from "./check.ts";
import type { Finding } from "./check-findings.ts";
import { namesOf, nameSeedOf } from "./check-names.ts";
import { writeCheckpoint } from "./checkpoint.ts";
import { timestampOf } from "./items.ts";
import { fix, nextStage, zero } from "./repair-fixes.ts";
import type { RepairReport } from "./repair-report.ts";
import { fetchMissing } from "./repair-segments.ts";
import { rebuildState } from "./repair-tree.ts";
import type { VolumeState } from "./state.ts";
import { DEFAULT_LIMITS, TreeVolume } from "./volume.ts";

export interface RepairOptions {
  readonly log: RecoverOptions & { readonly writerId: Uint8Array };
  readonly logId: Uint8Array;
  /** Of the store: its epochs have at least this term. */
  readonly term: number;
  /** "patch": only bytes are repaired, nothing is appended (a mirror's store, or a fenced one). */
  readonly extent: "everything" | "patch";
  /** Another site's log, only read; null: there is none. */
  readonly mirror: SegmentStore | null;
  /** What stands from these addresses to the ends of their files is about to be cleared or removed. */
  readonly keepAside: (parts: readonly Address[]) => void;
  readonly depth: CheckOptions["depth"];
  /** What becomes of data that no copy has: it stays unreadable, or becomes zeros. */
  readonly damagedData: "leave" | "zero";
  readonly memoryBytes?: number;
  /** `share`: 0 … 1 of the step. */
  readonly onProgress?: (step: string, share: number) => void;
}

/** Findings looked at between two checks. */
const BATCH = 10_000;
/** Checks, at most: there are stages, and each may take several batches. */
const MAX_ROUNDS = 100;
/** Some repairs take several records (entries of a large file that is no directory). */
const MAX_TRIES = 3;
const ALLOCATION_BYTES = 2 ** 20;

/** Gives the last check. Rejects with `SmfsError` when nothing can be done: NOT_FOUND, DAMAGED, NO_SPACE, IO. */
export async function repairStore(
  store: SegmentStore,
  options: RepairOptions,
  time: Clock & Timers,
  report: RepairReport,
): Promise<CheckReport> {
  if (options.mirror !== null) await fetchMissing(store, options.mirror, options.logId, report);
  await mend(store, options, report, "leave");
  const opened = await openLog(store, options, time, report);
  const repair = new Repair(store, opened.log, options, time, report);
  try {
    const found = opened.wasBridged ? null : await repair.check();
    if (found !== null && isClean(found)) return found;
    if (options.extent === "patch") return found ?? (await repair.check());
    return await repair.run(opened.wasBridged);
  } finally {
    await closed(opened.log);
  }
}

function isClean({ complete, errors, warnings }: CheckReport): boolean {
  return complete && errors + warnings === 0;
}

async function mend(
  store: SegmentStore,
  options: RepairOptions,
  report: RepairReport,
  end: "leave" | "extend",
): Promise<void> {
  const { logId, mirror, onProgress } = options;
  const total = store.list().reduce((sum, { bytes }) => sum + bytes, 0);
  const context = {
    store,
    mirror,
    logId,
    end,
    report: ({ segment, from, to, what, outcome }) => {
      const address = { segment, offset: from };
      const text = `${describeAddress(address)}, ${to - from} bytes: ${what}`;
      if (outcome === "repaired") report.done("log", text, address);
      else report.leave("log", text, address);
    },
  } satisfies Parameters<typeof mendLog>[0];
  await mendLog(context, (bytes) => onProgress?.("reading the log", bytes / total));
}

async function openLog(
  store: SegmentStore,
  options: RepairOptions,
  time: Clock & Timers,
  report: RepairReport,
): Promise<{ log: Log; wasBridged: boolean }> {
  let recovered = Log.recover(store, options.log, time);
  if (!recovered.ok && options.mirror !== null) {
    await mend(store, options, report, "extend");
    recovered = Log.recover(store, options.log, time);
  }
  if (recovered.ok) {
    const { cutAt } = recovered.report;
    if (cutAt !== null) {
      report.done("tail", `a torn tail at ${describeAddress(cutAt)} was cut off`, cutAt);
    }
    return { log: recovered.log, wasBridged: false };
  }
  const { code } = recovered.failure;
  const isDamage = code === "DAMAGED" || code === "SHORT" || code === "OTHER_HISTORY";
  if (!isDamage || options.extent === "patch") throw recovered.failure;
  await bridge(store, options, time, report, recovered.failure);
  const again = Log.recover(store, options.log, time);
  if (!again.ok) throw again.failure;
  return { log: again.log, wasBridged: true };
}

async function bridge(
  store: SegmentStore,
  { logId, term, log, keepAside }: RepairOptions,
  time: Clock & Timers,
  report: RepairReport,
  failure: SmfsError,
): Promise<void> {
  const { last, firstSequence, checkpoints } = summarizeLog(store, logId);
  const checkpoint = checkpoints.at(-1) ?? null;
  if (last === null || checkpoint === null) throw failure;
  const segment = await bridgeLog(store, time, {
    last,
    firstSequence,
    checkpoint,
    epoch: Math.max(last.epoch + 1, firstEpochOf(term)),
    writerId: log.writerId,
    allocationBytes: log.allocationBytes ?? ALLOCATION_BYTES,
    beforeCut: keepAside,
  });
  report.done("log", `${messageOf(failure)}: the log goes on in segment ${segment}`);
}

class Repair {
  private readonly store: SegmentStore;
  private readonly log: Log;
  private readonly options: RepairOptions;
  private readonly time: Clock & Timers;
  private readonly report: RepairReport;
  /** How often a finding was acted on. Found again all the same, it is left. */
  private readonly tries = new Map<string, number>();

  constructor(
    store: SegmentStore,
    log: Log,
    options: RepairOptions,
    time: Clock & Timers,
    report: RepairReport,
  ) {
    this.store = store;
    this.log = log;
    this.options = options;
    this.time = time;
    this.report = report;
  }

  async check(depth: CheckOptions["depth"] = this.options.depth): Promise<CheckReport> {
    const { checkpoint } = this.log;
    if (checkpoint === null) throw new SmfsError("DAMAGED", "the log holds no file system");
    const { memoryBytes, onProgress } = this.options;
    return checkVolume(this.log, checkpoint, {
      segments: this.store.list(),
      depth,
      maxFindings: BATCH,
      paths: "find",
      ...(memoryBytes === undefined ? {} : { memoryBytes }),
      onProgress: ({ share }) => onProgress?.("checking", share),
    });
  }

  async run(wasBridged: boolean): Promise<CheckReport> {
    const { store, options, report, log } = this;
    await durable(log);
    const cache = new NodeCache(DEFAULT_LIMITS.cacheBytes);
    const summary = summarizeLog(store, options.logId);
    const rebuilt = await rebuildState(store, options.logId, summary, cache, report);
    const { state } = rebuilt;
    if (!wasBridged) {
      log.startEpoch(Math.max(log.epoch + 1, firstEpochOf(options.term)), EPOCH_REASON.opened);
    }
    const environment = { clock: this.time, space: () => store.space() };
    const volume = new TreeVolume(log, state, environment, { records: 0, bytes: 0 });
    if (wasBridged || rebuilt.isChanged) this.checkpoint(state);
    await this.fixAll(volume, state);
    if (options.depth === "data") await this.fixOwners(volume, state);
    if (options.damagedData === "zero") await this.zeroAll(volume);
    volume.checkpoint();
    await this.correctCounts(state);
    await durable(log);
    return this.check();
  }

  private async fixAll(volume: TreeVolume, state: VolumeState): Promise<void> {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const { findings } = await this.check("structure");
      const due = nextStage(findings.filter((finding) => this.isWorthATry(finding)));
      if (due.length === 0) return;
      for (const finding of due) await this.fixOne(volume, state, finding);
    }
  }

  /** What only a check of all data sees: owners of blocks that no item lists. */
  private async fixOwners(volume: TreeVolume, state: VolumeState): Promise<void> {
    const { findings } = await this.check("data");
    const unlisted = findings.filter(
      ({ owners, snapshot }) => owners !== null && snapshot === null,
    );
    for (const finding of unlisted) await this.fixOne(volume, state, finding);
    if (unlisted.length > 0) await this.fixAll(volume, state);
  }

  private isWorthATry(finding: Finding): boolean {
    return (this.tries.get(nameOf(finding)) ?? 0) < MAX_TRIES;
  }

  private async fixOne(volume: TreeVolume, state: VolumeState, finding: Finding): Promise<void> {
    const needsNames = finding.problem === "directory-names" || finding.problem === "root";
    const runner = { run: <T>(attempt: () => T) => volume.view(attempt) };
    const namedIn = needsNames ? await namesOf(runner, state.tree, finding.inode ?? 0) : [];
    const nameSeed = finding.problem === "root" ? await nameSeedOf(runner, state.tree) : 0;
    const now = timestampOf(this.time.wallMicros());
    await this.attempt(volume, finding, (transaction) =>
      fix(transaction, finding, { now, nameSeed, namedIn }),
    );
    const name = nameOf(finding);
    this.tries.set(name, (this.tries.get(name) ?? 0) + 1);
  }

  private async zeroAll(volume: TreeVolume): Promise<void> {
    const { findings } = await this.check("data");
    for (const finding of findings) {
      const isData = finding.problem === "data" || finding.problem === "segment-missing";
      if (!isData || finding.snapshot !== null) continue;
      await this.attempt(volume, finding, (transaction) => zero(transaction, finding));
    }
  }

  private async attempt(
    volume: TreeVolume,
    { problem, what, address, inode }: Finding,
    act: (transaction: Parameters<typeof fix>[0]) => string,
  ): Promise<void> {
    try {
      const { value } = await volume.change(act, true);
      if (value === "") this.report.leave(problem, what, address, inode);
      else this.report.done(problem, `${what}: ${value}`, address, inode);
    } catch (error) {
      if (!(error instanceof SmfsError) && !(error instanceof FsError)) throw error;
      this.report.leave(problem, `${what}: ${messageOf(error)}`, address, inode);
    }
  }

  /** Nothing is dirty, so what was counted is what the next checkpoint should say. */
  private async correctCounts(state: VolumeState): Promise<void> {
    const { counted, findings } = await this.check("structure");
    const counts = ["counters", "live-bytes", "next-inode"];
    const wrong = findings.filter(
      ({ problem, snapshot }) => counts.includes(problem) && snapshot === null,
    );
    if (counted === null || wrong.length === 0) return;
    const { inodes, dataBytes, nextInode, live } = counted;
    Object.assign(state.counters, { inodes, dataBytes, nextInode });
    const next = live.copy();
    for (const { table } of state.kept.list) next.add(table.segment, table.length);
    state.live = next;
    this.checkpoint(state);
    for (const { problem, what, address } of wrong) {
      this.report.done(problem, `${what}: corrected`, address);
    }
  }

  private checkpoint(state: VolumeState): void {
    writeCheckpoint(this.log, state, this.time.wallMicros());
  }
}

function nameOf({ problem, inode, subject, key, address }: Finding): string {
  const at = address === null ? "" : describeAddress(address);
  return `${problem} ${inode} ${subject} ${key?.high}/${key?.low} ${at}`;
}

function durable(log: Log): Promise<void> {
  return new Promise((resolve, reject) => {
    log.whenDurable(log.head.sequence, (error) => (error === null ? resolve() : reject(error)));
  });
}

function closed(log: Log): Promise<void> {
  return new Promise((resolve) => {
    // What a failed log could not keep, the check that follows finds.
    log.close(() => resolve());
  });
}
