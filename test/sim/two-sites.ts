/**
 * The stage of the two-site world: two disks, a network between them, and what runs at either end.
 * It starts and ends processes and looks at what they leave; what happens, and what must be true
 * then, is the affair of `world.ts` and `world-return.ts`.
 */
import { Prng } from "../../lib/prng.ts";
import { checkVolume } from "../../logfs/core/fs/check.ts";
import { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import type { SyncLevel } from "../../logfs/core/vfs.ts";
import { SimulatedDisk } from "./disk.ts";
import type { Endpoint } from "./endpoint.ts";
import type { History } from "./history.ts";
import { Life } from "./life.ts";
import { readAll, type Shown } from "./read-back.ts";
import { openWritable, type PrimaryParts, SimMirror, SimPrimary } from "./sites.ts";
import { Workload } from "./workload.ts";
import { WorldNetwork } from "./world-network.ts";
import { WorldTime } from "./world-time.ts";

export const DISK_BYTES = 256 * 2 ** 20;

export type Ending = "kill" | "power";
/** The site that began as the primary, and the one that began as the mirror, whatever they are now. */
export type SiteName = "primary" | "mirror";
/** What an error of an application is: something that must not be, or that may, then or for good. */
export type Judgement = "failed" | "refused" | "ignored";

export class Violation extends Error {
  override name = "Violation";
}

export class TwoSites {
  readonly time = new WorldTime(() => this.beforeStep());
  readonly network: WorldNetwork;
  readonly prng: Prng;
  readonly disks: Record<SiteName, SimulatedDisk>;
  readonly levels: { readonly data: SyncLevel; readonly full: SyncLevel };
  private readonly ends: Record<
    SiteName,
    { readonly life: Life; readonly endpoint: Endpoint } | null
  > = { primary: null, mirror: null };
  private failure: unknown = null;

  constructor(seed: number) {
    this.prng = new Prng(seed);
    const { clock } = this.time;
    const disk = (): SimulatedDisk =>
      new SimulatedDisk(clock.schedule, {
        capacityBytes: DISK_BYTES,
        syncMicros: this.prng.pick([200, 2000, 8000]),
        writeMicros: this.prng.pick([20, 100]),
      });
    this.disks = { primary: disk(), mirror: disk() };
    this.network = new WorldNetwork(clock, this.prng, seed, (way, packet) => {
      this.ends[way === "aToB" ? "mirror" : "primary"]?.endpoint.receive(packet);
    });
    this.levels = this.prng.pick([
      { data: "network", full: "remote" },
      { data: "local", full: "network" },
      { data: "network", full: "network" },
    ] as const);
  }

  newLife(): Life {
    return new Life(this.time.clock);
  }

  // ---- processes ----------------------------------------------------------------------------

  private beforeStep(): void {
    if (this.failure !== null) throw this.failure;
    for (const end of [this.ends.primary, this.ends.mirror]) {
      if (end?.life.alive === true) end.endpoint.drain();
    }
  }

  async connectPrimary(
    name: SiteName,
    life: Life,
    standing: PrimaryParts["standing"],
  ): Promise<SimPrimary> {
    const { levels, prng, disks, network } = this;
    const sync = { floor: "written", dataSync: levels.data, fsync: levels.full, osync: "local" };
    const way = name === "primary" ? "aToB" : "bToA";
    const primary = await this.time.wait(
      SimPrimary.open({
        disk: disks[name],
        life,
        seed: prng.u32(),
        config: {},
        send: (datagram) => network.send(way, datagram),
        sync: sync as PrimaryParts["sync"],
        standing,
      }),
    );
    this.ends[name] = primary;
    return primary;
  }

  async connectMirror(name: SiteName, life: Life): Promise<SimMirror> {
    const { prng, network, disks } = this;
    const way = name === "primary" ? "aToB" : "bToA";
    const mirror = await this.time.wait(
      SimMirror.open({
        disk: disks[name],
        life,
        seed: prng.u32(),
        config: {},
        send: (datagram) => network.send(way, datagram),
      }),
    );
    this.ends[name] = mirror;
    return mirror;
  }

  /** `judge`: what an error of the application is. */
  startWorkload(
    primary: SimPrimary,
    history: History,
    judge: (error: unknown) => Judgement,
  ): Workload {
    const { prng, levels } = this;
    const { life } = primary;
    const pauseMicros = prng.pick([2_000, 10_000, 40_000]);
    const workload = new Workload(life, new Prng(prng.u32()), history, pauseMicros);
    const target = { primary, levels, mayRefuse: (error: unknown) => judge(error) === "refused" };
    workload.run(target).catch((error: unknown) => {
      if (life.alive && judge(error) === "failed") this.failure ??= error;
    });
    return workload;
  }

  /** The process, or the machine, is gone; the disk is for the next one. */
  stop(name: SiteName, how: Ending): void {
    const end = this.ends[name];
    if (end !== null) end.life.alive = false;
    this.ends[name] = null;
    if (how === "kill") this.disks[name].killProcess(this.prng);
    else this.disks[name].crash(this.prng);
    this.disks[name] = this.disks[name].successor();
  }

  // ---- what a disk shows --------------------------------------------------------------------

  /** What a machine that starts again shows; everything that was promised must be there. */
  async lookAt(name: SiteName, after: Ending, history: History): Promise<number> {
    const life = this.newLife();
    const promised =
      after === "kill" ? history.completed : history.promised(({ level }) => level !== "written");
    const opened = await this.openForReading(this.disks[name], life, false);
    const index = history.find(await this.shownBy(opened));
    life.alive = false;
    expectIndex(index, promised, `${name} after ${after}`);
    return index;
  }

  shownBy({ fs, volume }: OpenedForReading): Promise<Shown> {
    return this.time.wait(readAll(fs, volume));
  }

  async expectClean(opened: OpenedForReading): Promise<void> {
    const { log, disk } = opened;
    if (log.checkpoint === null) throw new Violation("no checkpoint");
    const options = { segments: disk.list(), depth: "data" } as const;
    const report = await this.time.wait(checkVolume(log, log.checkpoint, options));
    if (report.errors > 0 || !report.complete) {
      throw new Violation(`fsck: ${JSON.stringify(report.findings)}`);
    }
  }

  async openForReading(disk: SimulatedDisk, life: Life, promote: boolean) {
    const { time } = this;
    const opened = await time.wait(openWritable(disk, life, { follower: promote, promote }));
    const fs = new FileSystem(opened.volume, { wait: () => undefined });
    await time.wait(Promise.resolve(fs.finishPending()));
    return { ...opened, fs, disk };
  }
}

export type OpenedForReading = Awaited<ReturnType<TwoSites["openForReading"]>>;

/** Of the state that `who` shows: one that was, and not older than what was promised. */
export function expectIndex(index: number, promised: number, who: string): void {
  if (index < 0) throw new Violation(`${who} shows a state that never was`);
  if (index >= promised) return;
  throw new Violation(`${who} is at operation ${index}, ${promised} were acknowledged`);
}
