/**
 * Two sites and a WAN in virtual time, and what befalls them: one seed, one history.
 *
 * A run: the application works on the primary, takes snapshots and goes back to them, while processes
 * die, machines lose power, the network breaks, disks rot and fill up; at the end the primary is lost,
 * the wire drains, and the mirror is promoted. Sometimes the old primary comes back.
 *
 * The checkers look from outside, at what applications were told (`history.ts`) and what file systems
 * show:
 * - after the death of the primary's process everything that returned is there;
 * - after a power loss everything acknowledged at `local` or above is there;
 * - what is there is always the state after a whole number of operations, in order;
 * - after the loss of the site, the mirror has everything acknowledged at `remote`, and at `network`
 *   unless the network was broken or the mirror was down as well (SMFS Table 1);
 * - the promoted file system passes fsck;
 * - what is damaged is refused with its place, or right; a scrub mends it from the other site;
 * - what a full disk refuses has not happened;
 * - an old primary that returns is fenced, and keeps what it has (`world-return.ts`);
 * - when everything is in order again, the mirror catches up.
 */
import { SmfsError } from "../../lib/errors.ts";
import type { SimulatedDisk } from "./disk.ts";
import { History, type Model } from "./history.ts";
import type { Life } from "./life.ts";
import { isDamage, type Shown } from "./read-back.ts";
import { format, NoFileSystem, type SimMirror, type SimPrimary } from "./sites.ts";
import {
  DISK_BYTES,
  type Ending,
  expectIndex,
  type Judgement,
  type OpenedForReading,
  type SiteName,
  TwoSites,
  Violation,
} from "./two-sites.ts";
import type { Workload } from "./workload.ts";
import { OldPrimary } from "./world-return.ts";
import { fill, objectionTo, rot } from "./world-rot.ts";

const SECOND = 1_000_000;
const YEAR = 365 * 86_400 * SECOND;
const FLICKERS = 3;
const FLICKER_MICROS = 60_000;
/** Longer than retries and time-outs of the transport and the mirror machines take together. */
const REUNION_MICROS = 20 * SECOND;
/** Longer than an operation that a full disk kept waiting takes, when there is room again. */
const RECOVERY_MICROS = 5 * SECOND;
const MIRROR = "the promoted mirror";

export const FAULTS = [
  ...["killPrimary", "powerPrimary", "killMirror", "powerMirror", "breakNetwork", "lossy"],
  ...["failingDisk", "powerBoth", "flickerPrimary", "flickerMirror", "fullMirror", "calm"],
  ...["clockJump", "fullPrimary", "rotPrimary", "rotMirror"],
] as const;

export interface RunSummary {
  readonly seed: number;
  readonly virtualSeconds: number;
  readonly operations: number;
  readonly acknowledged: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly packets: number;
  readonly packetsLost: number;
  /** Segments dropped at both sites. */
  readonly dropped: number;
  /** Segments that the primary's cleaner emptied. */
  readonly cleaned: number;
  /** Operations that a full or damaged disk refused. */
  readonly refused: number;
  /** Records and gaps that scrubs repaired. */
  readonly repaired: number;
}

/** Numbers are given in order and never again. */
function droppedFrom(disk: SimulatedDisk): number {
  const segments = disk.list();
  return (segments.at(-1)?.segment ?? 0) - segments.length;
}

export class World {
  private readonly sites: TwoSites;
  private readonly history = new History();
  private readonly seed: number;
  private readonly faults: Record<string, number> = {};
  private readonly counts = { cleaned: 0, refused: 0, repaired: 0 };
  private primary: SimPrimary | null = null;
  private mirror: SimMirror | null = null;
  private primaryLife: Life;
  private mirrorLife: Life;
  private workload: Workload | null = null;
  private fullUntil = 0;
  /** Operations of the primary may be refused for want of space until then. */
  private scarceUntil = 0;
  /** When the network, or the mirror, was last out of order. */
  private lastBreak = -Infinity;
  /** The primary's disk says no: its application may see errors until the machine starts again. */
  private diskIsFailing = false;
  private readonly isDamaged = { primary: false, mirror: false };

  constructor(seed: number) {
    this.seed = seed;
    this.sites = new TwoSites(seed);
    this.primaryLife = this.sites.newLife();
    this.mirrorLife = this.sites.newLife();
  }

  async run(): Promise<RunSummary> {
    await this.sites.time.wait(format(this.sites.disks.primary, this.primaryLife));
    await this.startMirror();
    await this.startPrimary();
    const events = 2 + this.sites.prng.below(5);
    for (let i = 0; i < events; i++) {
      await this.sites.time.pass((0.2 + 2 * this.sites.prng.float()) * SECOND);
      await this.disturb();
    }
    await this.sites.time.pass((0.2 + 3 * this.sites.prng.float()) * SECOND);
    if (this.history.failedSyncs > 0) throw new Violation("a sync failed on a sound disk");
    const promoted = await this.loseTheSite();
    if (promoted !== null && this.sites.prng.chance(0.5)) {
      this.count("oldPrimaryReturns");
      await new OldPrimary(this.sites, this.history, promoted).comeBack();
    }
    return this.summary();
  }

  private summary(): RunSummary {
    const { seed, history, faults, counts } = this;
    const { network, disks } = this.sites;
    const { sent, lost } = network.packets;
    return {
      seed,
      virtualSeconds: this.sites.time.now / SECOND,
      operations: history.operations,
      acknowledged: history.acknowledged,
      faults,
      packets: sent,
      packetsLost: lost,
      dropped: droppedFrom(disks.primary) + droppedFrom(disks.mirror),
      ...counts,
    };
  }

  private count(fault: string): void {
    this.faults[fault] = (this.faults[fault] ?? 0) + 1;
  }

  // ---- what befalls them --------------------------------------------------------------------

  private disturb(): Promise<void> | void {
    const { prng, network } = this.sites;
    const fault = prng.pick(FAULTS);
    this.count(fault);
    switch (fault) {
      case "killPrimary":
        return this.restartPrimary("kill");
      case "powerPrimary":
        return this.restartPrimary("power");
      case "killMirror":
        return this.restartMirror("kill");
      case "powerMirror":
        return this.restartMirror("power");
      case "failingDisk":
        return this.failPrimaryDisk();
      case "powerBoth":
        return this.restartBoth();
      case "flickerPrimary":
        return this.flicker(() => this.restartPrimary("power"));
      case "flickerMirror":
        return this.flicker(() => this.restartMirror("power"));
      case "fullMirror":
        return this.fillMirror((0.1 + 4 * prng.float()) * SECOND);
      case "fullPrimary":
        return this.fillPrimary((0.1 + 60 * prng.float()) * SECOND);
      case "clockJump":
        return this.jumpClock(prng.pick([this.primaryLife, this.mirrorLife]));
      case "calm":
        return this.expectReunion();
      case "breakNetwork":
        network.break((0.1 + 12 * prng.float()) * SECOND);
        this.lastBreak = network.brokenUntil;
        return;
      case "lossy":
        return network.changeLoss();
      case "rotPrimary":
        return this.rotAndScrub("primary");
      case "rotMirror":
        return this.rotAndScrub("mirror");
    }
  }

  private async restartBoth(): Promise<void> {
    this.stopPrimary("power");
    await this.restartMirror("power");
    await this.restartPrimary("power");
  }

  private async flicker(restart: () => Promise<void>): Promise<void> {
    for (let i = 0; i < FLICKERS; i++) {
      await restart();
      await this.sites.time.pass(this.sites.prng.below(FLICKER_MICROS));
    }
  }

  /** Somebody sets a machine's wall clock; timers run on. Lasts until the machine starts again. */
  private jumpClock(life: Life): void {
    const years = this.sites.prng.pick([-20, -1, -0.001, 0.001, 1, 20]);
    life.wallErrorMicros = Math.round(years * YEAR);
  }

  private fillMirror(micros: number): void {
    const { disks, time } = this.sites;
    fill(disks.mirror, 0);
    this.lastBreak = Math.max(this.lastBreak, time.now + micros);
    this.fullUntil = Math.max(this.fullUntil, time.now + micros);
    time.clock.schedule(micros, () => {
      if (time.now >= this.fullUntil) disks.mirror.resize(DISK_BYTES);
    });
  }

  /** Somebody else takes the space that was free. The application is refused, or waits for the cleaner. */
  private fillPrimary(micros: number): void {
    const { disks, time } = this.sites;
    fill(disks.primary, this.sites.prng.pick([0, 50_000, 200_000]));
    const fullUntil = time.now + micros;
    this.scarceUntil = Math.max(this.scarceUntil, fullUntil + RECOVERY_MICROS);
    time.clock.schedule(micros, () => {
      if (time.now + RECOVERY_MICROS >= this.scarceUntil) disks.primary.resize(DISK_BYTES);
    });
  }

  /**
   * A write or a sync of the primary fails. Nothing may be acknowledged after that, and what the
   * device dropped is gone: the machine starts again as after a power loss.
   */
  private async failPrimaryDisk(): Promise<void> {
    const { prng, disks } = this.sites;
    this.diskIsFailing = true;
    const message = "simulated disk: input/output error";
    const kind = prng.pick(["write", "short", "sync"] as const);
    if (kind === "sync") disks.primary.failNextSync(message);
    else if (kind === "write") disks.primary.failNextWrite({ kind: "error", message });
    else disks.primary.failNextWrite({ kind: "short", bytes: prng.below(200) });
    await this.sites.time.pass(prng.below(2 * SECOND));
    await this.restartPrimary("power");
    this.diskIsFailing = false;
    this.history.failedSyncs = 0;
  }

  /** Damage to what both sites have, met by the application, found and mended by a scrub. */
  private async rotAndScrub(name: SiteName): Promise<void> {
    const { sites } = this;
    await this.expectReunion();
    const site = name === "primary" ? this.primary : this.mirror;
    const end = this.mirror?.log?.endAddress;
    if (site === null || end === undefined) return;
    this.isDamaged[name] = true;
    rot(sites.disks[name], end, sites.prng);
    // Of a mirror that is damaged when the site is lost.
    if (name === "mirror" && sites.prng.chance(0.2)) return;
    // Soon most of it would be dropped.
    if (sites.prng.chance(0.4)) {
      await sites.time.pass(sites.prng.below(SECOND));
      await this.expectReunion();
    }
    await this.expectMended(site, sites.disks[name === "primary" ? "mirror" : "primary"]);
    this.isDamaged[name] = false;
    if (name === "mirror" && this.mirror?.volume?.failure != null) await this.restartMirror("kill");
  }

  private async expectMended(site: SimPrimary | SimMirror, other: SimulatedDisk): Promise<void> {
    const first = await this.sites.time.wait(site.scrub());
    const second = await this.sites.time.wait(site.scrub());
    this.counts.repaired += first.repaired;
    const objection = objectionTo(first, other) ?? objectionTo(second, other);
    if (objection !== null) throw new Violation(objection);
    if (second.repaired > 0) throw new Violation("a scrub repairs what another has repaired");
  }

  private async restartPrimary(how: Ending): Promise<void> {
    const { history } = this;
    const { prng, disks } = this.sites;
    this.stopPrimary(how);
    await this.sites.time.pass(prng.pick([0, 10_000, prng.below(SECOND)]));
    const index = await this.sites.lookAt("primary", how, history);
    history.rewind(index);
    disks.primary.killProcess(prng);
    disks.primary = disks.primary.successor();
    await this.startPrimary();
  }

  private stopPrimary(how: Ending): void {
    this.counts.cleaned += this.primary?.cleaner.counters.cleanedSegments ?? 0;
    this.counts.refused += this.workload?.refused ?? 0;
    this.workload = null;
    this.primaryLife.alive = false;
    this.primary = null;
    this.sites.stop("primary", how);
  }

  private async restartMirror(how: Ending): Promise<void> {
    this.mirrorLife.alive = false;
    this.mirror = null;
    this.sites.stop("mirror", how);
    await this.sites.time.pass(this.sites.prng.below(SECOND));
    await this.startMirror();
    this.lastBreak = Math.max(this.lastBreak, this.sites.time.now);
  }

  /**
   * The rolling disaster: the site dies for good, what is on the wire arrives, the mirror takes over.
   * Gives the history as of what it shows; null when it shows nothing, or damage.
   */
  private async loseTheSite(): Promise<History | null> {
    const { history, primary } = this;
    const { disks, prng } = this.sites;
    const broken = this.sites.time.now < this.lastBreak + 10 * SECOND;
    const { safeSequence = 0, durableSequence = 0, state = "" } = primary?.session ?? {};
    // Disasters of the worst kind take the mirror's power, too: then only its disk counts.
    const both = prng.chance(0.3);
    const safe = state === "streaming" && !broken && !both ? safeSequence : durableSequence;
    const promised = history.promised(
      ({ level, sequence }) =>
        level === "remote" || (level === "network" && sequence <= Math.max(safe, durableSequence)),
    );
    this.stopPrimary("power");
    if (!both) await this.sites.time.pass(3 * SECOND);
    this.mirrorLife.alive = false;
    this.mirror = null;
    this.sites.stop("mirror", both ? "power" : "kill");
    if (disks.mirror.list().length === 0) {
      if (promised > 0) throw new Violation(`${promised} operations promised, the mirror is empty`);
      return null;
    }
    return this.takeOver(promised);
  }

  private async takeOver(promised: number): Promise<History | null> {
    const { sites, history, isDamaged } = this;
    const life = sites.newLife();
    try {
      const opened = await sites.openForReading(sites.disks.mirror, life, true);
      if (isDamaged.mirror) return await this.expectRightOrRefused(opened, promised);
      const shown = await sites.shownBy(opened);
      expectIndex(history.findAtMirror(shown), promised, MIRROR);
      await sites.expectClean(opened);
      life.alive = false;
      return new History(whole(shown));
    } catch (error) {
      if (promised === 0 && error instanceof NoFileSystem) return null;
      // Of two copies one is lost and one damaged: it says so.
      if (isDamaged.mirror && isDamage(error)) return null;
      throw error;
    }
  }

  // ---- the checkers -------------------------------------------------------------------------

  /** With everything in order the mirror follows again, has all that is older than a moment, and shows it. */
  private async expectReunion(): Promise<void> {
    const { time, network } = this.sites;
    const inOrder = Math.max(time.now, network.brokenUntil, this.fullUntil, this.scarceUntil);
    for (;;) {
      const head = this.primary?.log.head.sequence ?? 0;
      await time.pass(0.5 * SECOND);
      const { state, reason, durableSequence = 0 } = this.primary?.session ?? {};
      const shown = this.shownSequence();
      if (state === "streaming" && Math.min(durableSequence, shown) >= head) return;
      if (time.now < inOrder + REUNION_MICROS) continue;
      const what = `${state} (${reason}), the mirror has ${durableSequence} of ${head}, shows ${shown}`;
      throw new Violation(`the sites do not find together: ${what}`);
    }
  }

  /** What the mirror's file system shows; a damaged one may have come to a stop. */
  private shownSequence(): number {
    if (this.isDamaged.mirror) return Infinity;
    const { failure = null, headSequence = 0 } = this.mirror?.volume ?? {};
    if (failure !== null) throw new Violation(`the mirror's file system: ${failure.message}`);
    return headSequence;
  }

  private async expectRightOrRefused(opened: OpenedForReading, promised: number): Promise<null> {
    const index = this.history.findDamagedAtMirror(await this.sites.shownBy(opened));
    expectIndex(index, promised, "the damaged mirror");
    return null;
  }

  // ---- processes ----------------------------------------------------------------------------

  private async startPrimary(): Promise<void> {
    const { sites } = this;
    this.primaryLife = sites.newLife();
    this.primary = await sites.connectPrimary("primary", this.primaryLife, "mirrored");
    this.workload = sites.startWorkload(this.primary, this.history, (error) => this.judge(error));
  }

  private judge(error: unknown): Judgement {
    if (this.diskIsFailing) return "ignored";
    if (this.isDamaged.primary && isDamage(error)) return "refused";
    return isFull(error) && this.sites.time.now < this.scarceUntil ? "refused" : "failed";
  }

  private async startMirror(): Promise<void> {
    this.mirrorLife = this.sites.newLife();
    this.mirror = await this.sites.connectMirror("mirror", this.mirrorLife);
  }
}

/** Nothing of it may have been refused. */
function whole(shown: Shown): Model {
  const model = new Map<string, Uint8Array>();
  for (const [name, bytes] of shown) {
    if (bytes === null) throw new Violation(`${name} was refused`);
    model.set(name, bytes);
  }
  return model;
}

function isFull(error: unknown): boolean {
  return error instanceof SmfsError && error.code === "NO_SPACE";
}
