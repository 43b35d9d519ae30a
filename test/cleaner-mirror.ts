/** A mirror beside a `CleanerWorld`, that takes its records when it is told to. */
import { expect } from "vitest";
import { equalBytes } from "../lib/bytes.ts";
import { VolumeFollower } from "../logfs/core/fs/follower.ts";
import { Reaper } from "../logfs/core/fs/reaper.ts";
import { Log } from "../logfs/core/log/log.ts";
import { type CleanerWorld, LOG_ID } from "./cleaner-world.ts";
import { SimulatedDisk } from "./sim/disk.ts";

/** A mirror of a log: the same records, a file system that follows, a reaper of its own. */
export class CleanerMirror {
  readonly disk: SimulatedDisk;
  readonly log: Log;
  readonly volume: VolumeFollower;
  private readonly world: CleanerWorld;
  private readonly reaper: Reaper;

  constructor(world: CleanerWorld) {
    this.world = world;
    this.disk = new SimulatedDisk(world.clock.schedule);
    this.log = Log.create(this.disk, { ...world.logOptions, logId: LOG_ID }, world.clock);
    const { log } = this;
    this.reaper = new Reaper(log, () => Math.min(log.durableSequence, log.vouchedSequence));
    const environment = {
      clock: world.clock,
      space: () => this.disk.space(),
      onCheckpoint: (reached: Parameters<Reaper["handleCheckpoint"]>[0]) =>
        this.reaper.handleCheckpoint(reached),
    };
    this.volume = new VolumeFollower(log, environment, 1);
  }

  /** Takes what the primary has. */
  async catchUp(): Promise<void> {
    const { log: source } = this.world;
    while (this.log.head.sequence < source.head.sequence) {
      const records = await this.world.records(this.log.head.sequence + 1);
      for (const { bytes } of records) this.log.appendRaw(bytes);
    }
    await this.world.step(40);
    await this.world.run(this.volume.settled());
    expect(this.volume.failure).toBeNull();
    while (this.reaper.isDue) this.reaper.step();
    this.world.progress();
  }

  /** Follows until `work` is over. */
  async during(work: Promise<unknown>): Promise<void> {
    const progress = { ended: false };
    const end = (): void => {
      progress.ended = true;
    };
    work.then(end, end);
    while (!progress.ended) await this.catchUp();
    await work;
  }

  /** What both hold is the same, byte for byte. */
  expectEqualSegments(): number {
    let compared = 0;
    for (const { segment, usedBytes } of this.log.segments) {
      const ours = this.world.log.segments.find((one) => one.segment === segment);
      if (ours === undefined) continue;
      const length = Math.min(usedBytes, ours.usedBytes);
      const [mine, theirs] = [this.disk, this.world.disk].map((disk) =>
        disk.readSync(segment, 0, length),
      );
      if (mine === undefined || theirs === undefined) throw new Error("no bytes");
      expect(equalBytes(mine, theirs)).toBe(true);
      compared++;
    }
    return compared;
  }
}
