/** A primary's log and a mirror's on simulated disks, joined by a pipe, in virtual time. */
import { KIND } from "../logfs/core/log/format.ts";
import { Log } from "../logfs/core/log/log.ts";
import type { Position } from "../logfs/core/log/api.ts";
import { MirrorCommitter, type OnUnreachable } from "../mirror/core/commit.ts";
import { FollowerSession, type FollowerStore } from "../mirror/core/follower.ts";
import type { Hello } from "../mirror/core/messages.ts";
import { PrimarySession } from "../mirror/core/primary.ts";
import type { SyncLevel } from "../logfs/core/vfs.ts";
import { VirtualClock } from "./sim/clock.ts";
import { type DiskOptions, SimulatedDisk } from "./sim/disk.ts";
import { Pipe } from "./sim/pipe.ts";

export const LOG_ID = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const SEGMENT_BYTES = 64 * 1024;
const MAX_RECORD_BYTES = 16 * 1024;
export const ONE_WAY_MICROS = 50_000;
export const SAFE_MICROS = 2_000;
const LOG_OPTIONS = {
  segmentBytes: SEGMENT_BYTES,
  maxRecordBytes: MAX_RECORD_BYTES,
  allocationBytes: 8192,
  tailBytes: 32 * 1024,
};

export class MirrorSide implements FollowerStore {
  readonly disk: SimulatedDisk;
  log: Log | null = null;
  readonly setAsideSequences: number[] = [];
  readonly session: FollowerSession;
  private readonly clock: VirtualClock;

  constructor(clock: VirtualClock, disk: SimulatedDisk, log: Log | null = null) {
    this.clock = clock;
    this.disk = disk;
    this.log = log;
    this.session = new FollowerSession({ store: this });
  }

  create(hello: Hello): Log {
    this.log = Log.create(this.disk, { ...LOG_OPTIONS, logId: hello.logId.slice() }, this.clock);
    return this.log;
  }

  setAside(position: Position, done: (error: Error | null) => void): void {
    this.log?.truncateTo(
      position.sequence,
      (records) => this.setAsideSequences.push(...records.map(({ sequence }) => sequence)),
      done,
    );
  }
}

export class MirrorWorld {
  readonly clock = new VirtualClock();
  readonly primaryDisk: SimulatedDisk;
  readonly pipe = new Pipe(this.clock, { oneWayMicros: ONE_WAY_MICROS, safeMicros: SAFE_MICROS });
  readonly mirror: MirrorSide;
  log: Log;
  primary: PrimarySession;
  committer: MirrorCommitter;
  fencedBy: string | null = null;
  private readonly onUnreachable: OnUnreachable;

  constructor(onUnreachable: OnUnreachable = "block", disk: Partial<DiskOptions> = {}) {
    this.primaryDisk = new SimulatedDisk(this.clock.schedule, disk);
    this.onUnreachable = onUnreachable;
    this.log = Log.create(this.primaryDisk, { ...LOG_OPTIONS, logId: LOG_ID }, this.clock);
    this.log.startEpoch(1, 1);
    this.mirror = new MirrorSide(this.clock, new SimulatedDisk(this.clock.schedule));
    [this.primary, this.committer] = this.newPrimary();
  }

  newPrimary(): [PrimarySession, MirrorCommitter] {
    const { log, clock } = this;
    const session = new PrimarySession({
      log,
      writerId: new Uint8Array(16),
      segmentBytes: SEGMENT_BYTES,
      maxRecordBytes: MAX_RECORD_BYTES,
      clock,
      timers: clock,
      onChange: () => this.committer?.handleProgress(),
      onFenced: (reason) => {
        this.fencedBy = reason;
      },
    });
    session.attach(this.pipe.a);
    this.mirror.session.attach(this.pipe.b);
    const committer = new MirrorCommitter({
      log,
      mirror: session,
      clock,
      timers: clock,
      onUnreachable: this.onUnreachable,
      timeoutMicros: 30_000_000,
      onSettled: () => {},
    });
    return [session, committer];
  }

  join(): void {
    this.pipe.join(this.primary, this.mirror.session);
  }

  append(bodyBytes = 100): number {
    const body = new Uint8Array(bodyBytes).fill(this.log.head.sequence);
    return this.log.append(KIND.update, 8, [body], (metadata) => metadata.fill(7)).sequence;
  }

  /** The primary's process dies after everything was written, and another one opens the log. */
  reopen(disk: SimulatedDisk = this.primaryDisk, epoch = this.log.epoch + 1): void {
    this.primary.stop();
    const recovered = Log.recover(disk, LOG_OPTIONS, this.clock);
    if (!recovered.ok) throw recovered.failure;
    this.log = recovered.log;
    this.log.startEpoch(epoch, 2);
    [this.primary, this.committer] = this.newPrimary();
  }

  /** Virtual microseconds until the record is as safe as asked; throws what the wait rejects with. */
  async waited(sequence: number, level: SyncLevel): Promise<number> {
    const started = this.clock.nowMicros();
    const wait = this.committer.wait(sequence, level);
    if (wait === undefined) return 0;
    let ended = started;
    let over = false;
    const settled = wait.finally(() => {
      ended = this.clock.nowMicros();
      over = true;
    });
    settled.catch(() => {});
    for (let steps = 0; !over && steps < 1_000_000; steps++) {
      this.clock.step();
      await Promise.resolve();
      await Promise.resolve();
      await Promise.resolve();
    }
    await settled;
    return ended - started;
  }

  /** The bytes of all segments, as they are on a disk. */
  static image(disk: SimulatedDisk): string {
    return disk
      .list()
      .map(({ segment, bytes }) => {
        const content = Buffer.from(disk.readSync(segment, 0, bytes));
        const used = content.length - 1 - [...content].toReversed().findIndex((byte) => byte !== 0);
        return `${segment}:${content.subarray(0, used + 1).toString("hex")}`;
      })
      .join("\n");
  }
}
