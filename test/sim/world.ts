/**
 * Two sites and a WAN in virtual time, and what befalls them: one seed, one history.
 *
 * A run: the application works on the primary while processes die, machines lose power, the network
 * breaks; at the end the primary is lost for good, the wire drains, and the mirror is promoted.
 *
 * The checkers look from outside, at what applications were told (`history.ts`) and what file systems
 * show:
 * - after the death of the primary's process everything that returned is there;
 * - after a power loss everything acknowledged at `local` or above is there;
 * - what is there is always the state after a whole number of operations, in order;
 * - after the loss of the site, the mirror has everything acknowledged at `remote`, and at `network`
 *   unless the network was broken or the mirror was down as well (SMFS Table 1);
 * - the promoted file system passes fsck;
 * - when everything is in order again, the mirror catches up.
 */
import { IDEAL_LINK, type LinkSettings } from "../../netem/core/settings.ts";
import { EmulatedPath } from "../../netem/core/path.ts";
import { Prng } from "../../lib/prng.ts";
import { checkVolume } from "../../logfs/core/fs/check.ts";
import { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import type { SyncLevel } from "../../logfs/core/vfs.ts";
import { VirtualClock } from "./clock.ts";
import { SimulatedDisk } from "./disk.ts";
import { History } from "./history.ts";
import { Life } from "./life.ts";
import { format, NoFileSystem, openWritable, SimMirror, SimPrimary } from "./sites.ts";
import { readAll, Workload } from "./workload.ts";

const SECOND = 1_000_000;
const YEAR = 365 * 86_400 * SECOND;
const NETWORK_OVERHEAD_BYTES = 28;
const DISK_BYTES = 256 * 2 ** 20;
const FLICKERS = 3;
const FLICKER_MICROS = 60_000;
/** Longer than retries and time-outs of the transport and the mirror machines take together. */
const REUNION_MICROS = 20 * SECOND;
const MIRROR = "the promoted mirror";

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
}

/** Numbers are given in order and never again. */
function droppedFrom(disk: SimulatedDisk): number {
  const segments = disk.list();
  return (segments.at(-1)?.segment ?? 0) - segments.length;
}

class Violation extends Error {
  override name = "Violation";
}

export class World {
  readonly clock = new VirtualClock();
  readonly history = new History();
  private readonly prng: Prng;
  private readonly seed: number;
  private readonly disks: { primary: SimulatedDisk; mirror: SimulatedDisk };
  private readonly path: EmulatedPath<Uint8Array>;
  private readonly levels: { data: SyncLevel; full: SyncLevel };
  private readonly faults: Record<string, number> = {};
  private primary: SimPrimary | null = null;
  private mirror: SimMirror | null = null;
  private primaryLife: Life;
  private mirrorLife: Life;
  private brokenUntil = 0;
  private fullUntil = 0;
  /** When the network, or the mirror, was last out of order. */
  private lastBreak = -Infinity;
  private failure: unknown = null;
  /** The primary's disk says no: its application may see errors until the machine starts again. */
  private diskIsFailing = false;
  private readonly armedMicros = { aToB: Infinity, bToA: Infinity };

  constructor(seed: number) {
    this.seed = seed;
    this.prng = new Prng(seed);
    this.primaryLife = new Life(this.clock);
    this.mirrorLife = new Life(this.clock);
    const disk = (): SimulatedDisk =>
      new SimulatedDisk(this.clock.schedule, {
        capacityBytes: DISK_BYTES,
        syncMicros: this.prng.pick([200, 2000, 8000]),
        writeMicros: this.prng.pick([20, 100]),
      });
    this.disks = { primary: disk(), mirror: disk() };
    const settings = this.randomLink();
    const paths = { aToB: settings, bToA: settings, seed, timeline: [] };
    this.path = new EmulatedPath<Uint8Array>(paths, 0);
    this.levels = this.prng.pick([
      { data: "network", full: "remote" },
      { data: "local", full: "network" },
      { data: "network", full: "network" },
    ] as const);
  }

  async run(): Promise<RunSummary> {
    await this.wait(format(this.disks.primary, this.primaryLife));
    await this.startMirror();
    await this.startPrimary();
    const events = 2 + this.prng.below(5);
    for (let i = 0; i < events; i++) {
      await this.pass((0.2 + 2 * this.prng.float()) * SECOND);
      await this.disturb();
    }
    await this.pass((0.2 + 3 * this.prng.float()) * SECOND);
    if (this.history.failedSyncs > 0) throw new Violation("a sync failed on a sound disk");
    await this.loseTheSite();
    const { aToB, bToA } = this.path.statistics;
    return {
      seed: this.seed,
      virtualSeconds: this.clock.nowMicros() / SECOND,
      operations: this.history.operations,
      acknowledged: this.history.acknowledged,
      faults: this.faults,
      packets: aToB.sent + bToA.sent,
      packetsLost: aToB.lost + bToA.lost,
      dropped: droppedFrom(this.disks.primary) + droppedFrom(this.disks.mirror),
    };
  }

  // ---- what befalls them --------------------------------------------------------------------

  private async disturb(): Promise<void> {
    const fault = this.prng.pick([
      ...["killPrimary", "powerPrimary", "killMirror", "powerMirror", "breakNetwork", "lossy"],
      ...["failingDisk", "powerBoth", "flickerPrimary", "flickerMirror", "fullMirror", "calm"],
      "clockJump",
    ] as const);
    this.faults[fault] = (this.faults[fault] ?? 0) + 1;
    switch (fault) {
      case "killPrimary":
        await this.restartPrimary("kill");
        return;
      case "powerPrimary":
        await this.restartPrimary("power");
        return;
      case "killMirror":
        await this.restartMirror("kill");
        return;
      case "powerMirror":
        await this.restartMirror("power");
        return;
      case "failingDisk":
        await this.failPrimaryDisk();
        return;
      case "powerBoth":
        this.stopPrimary("power");
        await this.restartMirror("power");
        await this.restartPrimary("power");
        return;
      case "flickerPrimary":
        for (let i = 0; i < FLICKERS; i++) {
          await this.restartPrimary("power");
          await this.pass(this.prng.below(FLICKER_MICROS));
        }
        return;
      case "flickerMirror":
        for (let i = 0; i < FLICKERS; i++) {
          await this.restartMirror("power");
          await this.pass(this.prng.below(FLICKER_MICROS));
        }
        return;
      case "fullMirror":
        this.fillMirror((0.1 + 4 * this.prng.float()) * SECOND);
        return;
      case "clockJump":
        this.jumpClock(this.prng.pick([this.primaryLife, this.mirrorLife]));
        return;
      case "calm":
        await this.expectReunion();
        return;
      case "breakNetwork":
        this.breakNetwork((0.1 + 12 * this.prng.float()) * SECOND);
        return;
      case "lossy":
        this.path.apply(
          "both",
          { kind: "configure", changes: { loss: this.randomLoss() } },
          this.now,
        );
    }
  }

  /** Somebody sets a machine's wall clock; timers run on. Lasts until the machine starts again. */
  private jumpClock(life: Life): void {
    const years = this.prng.pick([-20, -1, -0.001, 0.001, 1, 20]);
    life.wallErrorMicros = Math.round(years * YEAR);
  }

  private fillMirror(micros: number): void {
    const disk = this.disks.mirror;
    const { totalBytes, freeBytes } = disk.space();
    disk.resize(totalBytes - freeBytes);
    this.lastBreak = Math.max(this.lastBreak, this.now + micros);
    this.fullUntil = Math.max(this.fullUntil, this.now + micros);
    this.clock.schedule(micros, () => {
      if (this.now >= this.fullUntil) disk.resize(DISK_BYTES);
    });
  }

  private breakNetwork(micros: number): void {
    this.path.apply("both", { kind: "cut" }, this.now);
    this.brokenUntil = Math.max(this.brokenUntil, this.now + micros);
    this.lastBreak = this.brokenUntil;
    this.clock.schedule(micros, () => {
      if (this.now >= this.brokenUntil) this.path.apply("both", { kind: "restore" }, this.now);
    });
  }

  /**
   * A write or a sync of the primary fails. Nothing may be acknowledged after that, and what the
   * device dropped is gone: the machine starts again as after a power loss.
   */
  private async failPrimaryDisk(): Promise<void> {
    const { prng, disks } = this;
    this.diskIsFailing = true;
    const message = "simulated disk: input/output error";
    const kind = prng.pick(["write", "short", "sync"] as const);
    if (kind === "sync") disks.primary.failNextSync(message);
    else if (kind === "write") disks.primary.failNextWrite({ kind: "error", message });
    else disks.primary.failNextWrite({ kind: "short", bytes: prng.below(200) });
    await this.pass(prng.below(2 * SECOND));
    await this.restartPrimary("power");
    this.diskIsFailing = false;
    this.history.failedSyncs = 0;
  }

  private async restartPrimary(how: "kill" | "power"): Promise<void> {
    const { history } = this;
    this.stopPrimary(how);
    await this.pass(this.prng.pick([0, 10_000, this.prng.below(SECOND)]));
    this.primaryLife = new Life(this.clock);
    const { disks, primaryLife } = this;
    const promised =
      how === "kill" ? history.completed : history.promised(({ level }) => level !== "written");
    const opened = await this.openForReading(disks.primary, primaryLife, false);
    const index = await this.expectPrefix(opened, promised, `primary after ${how}`);
    history.rewind(index);
    primaryLife.alive = false;
    disks.primary.killProcess(this.prng);
    this.primaryLife = new Life(this.clock);
    await this.startPrimary();
  }

  private stopPrimary(how: "kill" | "power"): void {
    this.primaryLife.alive = false;
    this.primary = null;
    if (how === "kill") this.disks.primary.killProcess(this.prng);
    else this.disks.primary.crash(this.prng);
  }

  private async restartMirror(how: "kill" | "power"): Promise<void> {
    this.mirrorLife.alive = false;
    this.mirror = null;
    if (how === "kill") this.disks.mirror.killProcess(this.prng);
    else this.disks.mirror.crash(this.prng);
    await this.pass(this.prng.below(SECOND));
    this.mirrorLife = new Life(this.clock);
    await this.startMirror();
    this.lastBreak = Math.max(this.lastBreak, this.now);
  }

  /** The rolling disaster: the site dies for good, what is on the wire arrives, the mirror takes over. */
  private async loseTheSite(): Promise<void> {
    const { history, primary, disks } = this;
    const broken = this.now < this.lastBreak + 10 * SECOND;
    const { safeSequence = 0, durableSequence = 0, state = "" } = primary?.session ?? {};
    // Disasters of the worst kind take the mirror's power, too: then only its disk counts.
    const both = this.prng.chance(0.3);
    const safe = state === "streaming" && !broken && !both ? safeSequence : durableSequence;
    const promised = history.promised(
      ({ level, sequence }) =>
        level === "remote" || (level === "network" && sequence <= Math.max(safe, durableSequence)),
    );
    this.stopPrimary("power");
    if (!both) await this.pass(3 * SECOND);
    this.mirrorLife.alive = false;
    this.mirror = null;
    if (both) disks.mirror.crash(this.prng);
    else disks.mirror.killProcess(this.prng);
    const life = new Life(this.clock);
    if (disks.mirror.list().length === 0) {
      if (promised > 0) throw new Violation(`${promised} operations promised, the mirror is empty`);
      return;
    }
    const opened = await this.openForReading(disks.mirror, life, true).catch((error: unknown) => {
      if (promised > 0 || !(error instanceof NoFileSystem)) throw error;
      return null;
    });
    if (opened === null) return;
    await this.expectPrefix(opened, promised, MIRROR);
    await this.expectClean(opened);
  }

  // ---- the checkers -------------------------------------------------------------------------

  /** With everything in order the mirror follows again, has all that is older than a moment, and shows it. */
  private async expectReunion(): Promise<void> {
    const inOrder = Math.max(this.now, this.brokenUntil, this.fullUntil);
    for (;;) {
      const head = this.primary?.log.head.sequence ?? 0;
      await this.pass(0.5 * SECOND);
      const { state, reason, durableSequence = 0 } = this.primary?.session ?? {};
      if (state === "streaming" && durableSequence >= head) return this.expectFollowing(head);
      if (this.now < inOrder + REUNION_MICROS) continue;
      const what = `${state} (${reason}), the mirror has ${durableSequence} of ${head}`;
      throw new Violation(`the sites do not find together: ${what}`);
    }
  }

  private expectFollowing(head: number): void {
    const { failure = null, headSequence = 0 } = this.mirror?.volume ?? {};
    if (failure !== null) throw new Violation(`the mirror's file system: ${failure.message}`);
    if (headSequence < head) throw new Violation(`the mirror shows ${headSequence} of ${head}`);
  }

  private async expectPrefix(
    { fs }: { fs: FileSystem },
    promised: number,
    who: string,
  ): Promise<number> {
    const found = await this.wait(readAll(fs));
    const { history } = this;
    const index = who === MIRROR ? history.findAtMirror(found) : history.find(found);
    if (index < 0) throw new Violation(`${who} shows a state that never was`);
    if (index < promised) {
      throw new Violation(`${who} is at operation ${index}, ${promised} were acknowledged`);
    }
    return index;
  }

  private async expectClean(opened: Awaited<ReturnType<World["openForReading"]>>): Promise<void> {
    const { log, disk } = opened;
    if (log.checkpoint === null) throw new Violation("no checkpoint");
    const segments = disk.list();
    const report = await this.wait(checkVolume(log, log.checkpoint, { segments, depth: "data" }));
    if (report.errors > 0 || !report.complete) {
      throw new Violation(`fsck: ${JSON.stringify(report.findings)}`);
    }
  }

  private async openForReading(disk: SimulatedDisk, life: Life, promote: boolean) {
    const opened = await this.wait(openWritable(disk, life, { follower: promote, promote }));
    const fs = new FileSystem(opened.volume, { wait: () => undefined });
    await this.wait(Promise.resolve(fs.finishPending()));
    return { ...opened, fs, disk };
  }

  // ---- time and processes -------------------------------------------------------------------

  private get now(): number {
    return this.clock.nowMicros();
  }

  private async startPrimary(): Promise<void> {
    const { disks, primaryLife, levels, prng, history } = this;
    const sync = {
      floor: "written",
      dataSync: levels.data,
      fsync: levels.full,
      osync: "local",
    } as const;
    const send = (datagram: Uint8Array): void => this.transmit("aToB", datagram);
    const primary = await this.wait(
      SimPrimary.open(disks.primary, primaryLife, sync, prng.u32(), {}, send),
    );
    this.primary = primary;
    const pauseMicros = prng.pick([2_000, 10_000, 40_000]);
    const workload = new Workload(primaryLife, new Prng(prng.u32()), history, pauseMicros);
    const headSequence = (): number => primary.volume.headSequence;
    workload.run({ fs: primary.fs, headSequence, levels }).catch((error: unknown) => {
      if (primaryLife.alive && !this.diskIsFailing) this.failure ??= error;
    });
  }

  private async startMirror(): Promise<void> {
    const { disks, mirrorLife, prng } = this;
    const send = (datagram: Uint8Array): void => this.transmit("bToA", datagram);
    this.mirror = await this.wait(SimMirror.open(disks.mirror, mirrorLife, prng.u32(), {}, send));
  }

  private transmit(direction: "aToB" | "bToA", datagram: Uint8Array): void {
    this.path[direction].send(datagram, datagram.length + NETWORK_OVERHEAD_BYTES, this.now);
    this.arm(direction);
  }

  private arrive(direction: "aToB" | "bToA"): void {
    this.armedMicros[direction] = Infinity;
    const link = this.path[direction];
    for (let packet = link.poll(this.now); packet !== null; packet = link.poll(this.now)) {
      (direction === "aToB" ? this.mirror : this.primary)?.endpoint.receive(packet);
    }
    this.arm(direction);
  }

  /** One wake-up a direction: for the next packet that arrives. */
  private arm(direction: "aToB" | "bToA"): void {
    const at = this.path[direction].nextTimeoutMicros();
    if (at >= this.armedMicros[direction]) return;
    this.armedMicros[direction] = at;
    this.clock.at(at, () => {
      if (this.armedMicros[direction] === at) this.arrive(direction);
    });
  }

  /** Lets virtual time pass; everything that is ready to run runs. */
  private async pass(micros: number): Promise<void> {
    const until = this.now + micros;
    let over = false;
    this.clock.at(until, () => {
      over = true;
    });
    while (!over) await this.step();
  }

  private async wait<T>(answer: Promise<T>): Promise<T> {
    let over = false;
    const end = (): void => {
      over = true;
    };
    answer.then(end, end);
    for (let steps = 0; !over; steps++) {
      if (steps > 2_000_000) throw new Violation("something waits for ever");
      // Everything that does not need time comes first: the clock must not run ahead of a long chain.
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      if (!over) await this.step();
    }
    return answer;
  }

  private async step(): Promise<void> {
    for (let turn = 0; turn < 6; turn++) await Promise.resolve();
    if (this.failure !== null) throw this.failure;
    if (this.primaryLife.alive) this.primary?.endpoint.drain();
    if (this.mirrorLife.alive) this.mirror?.endpoint.drain();
    this.clock.step();
  }

  private randomLoss(): LinkSettings["loss"] {
    const share = this.prng.pick([0, 0.001, 0.005, 0.01]);
    return this.prng.chance(0.7)
      ? { kind: "independent", share }
      : { kind: "bursts", share, meanPackets: 2 + this.prng.below(7) };
  }

  private randomLink(): LinkSettings {
    return {
      ...IDEAL_LINK,
      delayMicros: this.prng.pick([1_000, 10_000, 50_000, 100_000]),
      jitterMicros: this.prng.pick([0, 0, 2_000]),
      rateBitsPerSecond: 1.2e9,
      loss: this.randomLoss(),
      reorderShare: this.prng.pick([0, 0, 0.01]),
      duplicateShare: this.prng.pick([0, 0, 0.01]),
    };
  }
}
