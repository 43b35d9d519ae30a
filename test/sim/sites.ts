/** The two sites of the simulator: production code on simulated disks, in one life each. */
import type { TransportConfig } from "../../gateway/core/transport/config.ts";
import { Cleaner } from "../../logfs/core/fs/cleaner/cleaner.ts";
import { GatedVolume } from "../../logfs/core/fs/cleaner/gated-volume.ts";
import { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import { VolumeFollower } from "../../logfs/core/fs/follower.ts";
import { LeasedVolume } from "../../logfs/core/fs/leased-volume.ts";
import { initialise } from "../../logfs/core/fs/inodes.ts";
import type { SyncOptions } from "../../logfs/core/fs/api.ts";
import { type ReachedCheckpoint, Reaper } from "../../logfs/core/fs/reaper.ts";
import { checkpointSequence, formatVolume, openVolume } from "../../logfs/core/fs/volume-open.ts";
import type { TreeVolume } from "../../logfs/core/fs/volume.ts";
import type { Position } from "../../logfs/core/log/api.ts";
import { EPOCH_REASON, firstEpochOf, termOf } from "../../logfs/core/log/epoch.ts";
import { Log } from "../../logfs/core/log/log.ts";
import { type FetchCopy, Scrub, type ScrubProgress } from "../../logfs/core/log/scrub.ts";
import { MirrorCommitter } from "../../mirror/core/commit.ts";
import { FollowerSession, type FollowerStore } from "../../mirror/core/follower.ts";
import type { Hello } from "../../mirror/core/messages.ts";
import { PrimarySession } from "../../mirror/core/primary.ts";
import { SmfsError } from "../../lib/errors.ts";
import type { SimulatedDisk } from "./disk.ts";
import { Endpoint } from "./endpoint.ts";
import type { Life } from "./life.ts";

/** Tiny segments, so that they die and are dropped all the time. */
const LOG_OPTIONS = {
  segmentBytes: 64 * 1024,
  maxRecordBytes: 32 * 1024,
  allocationBytes: 16 * 1024,
  tailBytes: 64 * 1024,
};
const LIMITS = { cacheBytes: 64 * 1024, dirtyBytes: 16 * 1024, replayBytes: 128 * 1024 };
const LOG_ID = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const VOLUME_ID = new Uint8Array(16).fill(3);

/** The disaster came before the mirror had anything to show. */
export class NoFileSystem extends Error {
  override name = "NoFileSystem";
}

type Send = (datagram: Uint8Array) => void;

/** Makes the primary's file system on an empty disk. */
export function format(disk: SimulatedDisk, life: Life): Promise<void> {
  const log = Log.create(disk, { ...LOG_OPTIONS, logId: LOG_ID }, life);
  log.startEpoch(1, 1);
  const environment = { clock: life, space: () => disk.space(), limits: LIMITS };
  formatVolume(log, environment, { volumeId: VOLUME_ID, nodeBytes: 1024 }, (transaction) =>
    initialise(transaction, {
      uid: 0,
      gid: 0,
      mode: 0o755,
      nowMicros: life.wallMicros(),
      nameSeed: 7,
    }),
  );
  return new Promise((resolve, reject) => {
    log.close((error) => (error === null ? resolve() : reject(error)));
  });
}

/** Drops a log's dead segments as soon as may be. */
function reap(log: Log, agreedSequence: () => number): Reaper {
  const reaper = new Reaper(log, agreedSequence);
  log.subscribe(() => dropDead(reaper));
  return reaper;
}

function dropDead(reaper: Reaper): void {
  while (reaper.isDue) reaper.step();
}

interface Opening {
  readonly follower: boolean;
  readonly promote: boolean;
  readonly onCheckpoint?: (reached: ReachedCheckpoint) => void;
}

/** A file system that may be written, without a mirror: for looking at a disk after a disaster. */
export async function openWritable(
  disk: SimulatedDisk,
  life: Life,
  how: Opening,
): Promise<{ log: Log; volume: TreeVolume }> {
  const recovered = Log.recover(disk, { ...LOG_OPTIONS, follower: how.follower }, life);
  if (!recovered.ok) throw recovered.failure;
  const { log } = recovered;
  if (how.promote) log.startEpoch(firstEpochOf(termOf(log.epoch) + 1), EPOCH_REASON.promoted);
  else log.startEpoch(log.epoch + 1, EPOCH_REASON.opened);
  if (log.checkpoint === null) throw new NoFileSystem("the first checkpoint has not arrived");
  const { onCheckpoint = () => {} } = how;
  const environment = { clock: life, space: () => disk.space(), limits: LIMITS, onCheckpoint };
  return { log, volume: await openVolume(log, log.checkpoint, environment) };
}

/** What a site is made of, from the start of its process to its end. */
export interface SiteParts {
  readonly disk: SimulatedDisk;
  readonly life: Life;
  readonly seed: number;
  readonly config: Partial<TransportConfig>;
  readonly send: Send;
}

export interface PrimaryParts extends SiteParts {
  readonly sync: SyncOptions;
  /** Whether it calls a mirror and waits for it, or took over from a primary that may call. */
  readonly standing: "mirrored" | "promoted";
}

export class SimPrimary {
  readonly life: Life;
  readonly disk: SimulatedDisk;
  readonly log: Log;
  readonly volume: TreeVolume;
  fs: FileSystem;
  readonly session: PrimarySession;
  readonly endpoint: Endpoint;
  readonly cleaner: Cleaner;
  fencedBy: string | null = null;
  private readonly committer: MirrorCommitter;
  private readonly reaper: Reaper;
  private readonly sync: SyncOptions;
  private lease: LeasedVolume;

  private constructor(parts: PrimaryParts, opened: { log: Log; volume: TreeVolume }) {
    const { life, disk, sync, standing, seed, config, send } = parts;
    this.life = life;
    this.disk = disk;
    this.log = opened.log;
    this.volume = opened.volume;
    this.sync = sync;
    this.session = this.newSession();
    this.committer = this.newCommitter(standing);
    this.reaper = reap(this.log, () => this.agreedSequence(standing));
    this.cleaner = this.newCleaner(standing);
    this.lease = new LeasedVolume(new GatedVolume(this.volume, this.cleaner));
    this.fs = new FileSystem(this.lease, this.committer, sync);
    const role = standing === "mirrored" ? "initiator" : "responder";
    this.endpoint = new Endpoint(role, life, seed, this.session, config, send);
    this.session.attach(this.endpoint.association);
  }

  static async open(parts: PrimaryParts): Promise<SimPrimary> {
    const reached: ReachedCheckpoint[] = [];
    let handle = (one: ReachedCheckpoint): void => void reached.push(one);
    const onCheckpoint = (one: ReachedCheckpoint): void => handle(one);
    const promote = parts.standing === "promoted";
    const how = { follower: promote, promote, onCheckpoint };
    const opened = await openWritable(parts.disk, parts.life, how);
    const primary = new SimPrimary(parts, opened);
    handle = (one) => primary.reaper.handleCheckpoint(one);
    for (const one of reached) handle(one);
    await primary.whenDurable();
    await finishPending(primary.fs);
    return primary;
  }

  whenDurable(): Promise<void> {
    const { log } = this;
    return new Promise((resolve, reject) => {
      log.whenDurable(log.head.sequence, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  async takeSnapshot(name: string): Promise<void> {
    this.volume.snapshots.take(name);
    await this.whenDurable();
  }

  async removeSnapshot(name: string): Promise<void> {
    this.volume.snapshots.remove(name);
    await this.whenDurable();
  }

  async rollBack(name: string): Promise<void> {
    this.lease.end();
    try {
      await this.volume.snapshots.rollBack(name);
    } finally {
      this.lease = new LeasedVolume(new GatedVolume(this.volume, this.cleaner));
      this.fs = new FileSystem(this.lease, this.committer, this.sync);
    }
    await finishPending(this.fs);
    await this.whenDurable();
  }

  scrub(): Promise<ScrubProgress> {
    return scrub(this, this.log, (address, length) => this.session.readCopy(address, length));
  }

  private newSession(): PrimarySession {
    const { log, life } = this;
    return new PrimarySession({
      log,
      writerId: new Uint8Array(16).fill(1),
      ...LOG_OPTIONS,
      clock: life,
      timers: life,
      onChange: () => {
        this.committer?.handleProgress();
        this.cleaner?.handleProgress();
        if (this.reaper !== undefined) dropDead(this.reaper);
      },
      onFenced: (reason) => {
        this.fencedBy = reason;
        log.fence(reason);
      },
    });
  }

  private newCommitter(standing: PrimaryParts["standing"]): MirrorCommitter {
    const { log, life, session } = this;
    return new MirrorCommitter({
      log,
      mirror: standing === "mirrored" ? session : null,
      clock: life,
      timers: life,
      onUnreachable: "block",
      timeoutMicros: 60_000_000,
      onSettled: () => {},
    });
  }

  /** Everybody who may yet have to read an old segment has got so far. */
  private agreedSequence(standing: PrimaryParts["standing"]): number {
    const { log, session } = this;
    const isAlone = standing === "promoted" && session.state !== "streaming";
    return isAlone ? log.durableSequence : Math.min(log.durableSequence, session.durableSequence);
  }

  private newCleaner(standing: PrimaryParts["standing"]): Cleaner {
    const { log, volume, life, disk, session } = this;
    const ports = {
      log,
      volume,
      time: life,
      space: () => disk.space(),
      restoreReserve: () => disk.restoreReserve(),
      obstacle: () => {
        const mayDrop = standing === "promoted" || session.state === "streaming";
        return mayDrop ? null : "the mirror is away";
      },
      onTrouble: () => {},
    };
    const { segmentBytes, maxRecordBytes } = LOG_OPTIONS;
    const { dirtyBytes } = LIMITS;
    return new Cleaner(ports, { segmentBytes, maxRecordBytes, dirtyBytes, garbageShare: 0.25 });
  }
}

/** What a full disk has no room to remove now is removed by a later opening. */
async function finishPending(fs: FileSystem): Promise<void> {
  try {
    await fs.finishPending();
  } catch (error) {
    if (!(error instanceof SmfsError) || error.code !== "NO_SPACE") throw error;
  }
}

/** Reads all that is durable at a site, and takes what does not verify from the other one. */
async function scrub(
  { disk, life }: Pick<SiteParts, "disk" | "life">,
  log: Log,
  fetch: FetchCopy,
): Promise<ScrubProgress> {
  const running = new Scrub({ log, store: disk, time: life, bytesPerSecond: 2 ** 30, fetch });
  await running.ended;
  return running.progress;
}

export class SimMirror implements FollowerStore {
  readonly life: Life;
  readonly session: FollowerSession;
  readonly endpoint: Endpoint;
  log: Log | null = null;
  volume: VolumeFollower | null = null;
  /** Records that gave way to another history, by sequence. */
  readonly setAsideSequences: number[] = [];
  readonly disk: SimulatedDisk;

  private constructor({ disk, life, seed, config, send }: SiteParts) {
    this.disk = disk;
    this.life = life;
    this.session = new FollowerSession({ store: this });
    this.endpoint = new Endpoint("responder", life, seed, this.session, config, send);
    this.session.attach(this.endpoint.association);
  }

  static async open(parts: SiteParts): Promise<SimMirror> {
    const mirror = new SimMirror(parts);
    await mirror.openExisting();
    mirror.session.watchLog();
    return mirror;
  }

  /** Throws when it has nothing yet. */
  scrub(): Promise<ScrubProgress> {
    if (this.log === null) throw new Error("nothing to scrub");
    return scrub(this, this.log, (address, length) => this.session.readCopy(address, length));
  }

  create(hello: Hello): Log {
    const options = { ...LOG_OPTIONS, logId: hello.logId.slice(), follower: true };
    this.follow(Log.create(this.disk, options, this.life), 1);
    if (this.log === null) throw new Error("the log was not made");
    return this.log;
  }

  setAside(position: Position, done: (error: Error | null) => void): void {
    const { log } = this;
    if (log === null) throw new Error("nothing to cut");
    const note = (records: readonly { sequence: number }[]): void => {
      this.setAsideSequences.push(...records.map(({ sequence }) => sequence));
    };
    log.truncateTo(position.sequence, note, (error) => {
      if (error === null) this.reopen(log).then(() => done(null), done);
      else done(error);
    });
  }

  private async reopen(log: Log): Promise<void> {
    await this.volume?.close();
    await new Promise<void>((resolve) => {
      log.close(() => resolve());
    });
    await this.openExisting();
  }

  private async openExisting(): Promise<void> {
    const recovered = Log.recover(this.disk, { ...LOG_OPTIONS, follower: true }, this.life);
    if (!recovered.ok) {
      if (recovered.failure.code === "NOT_FOUND") return;
      throw recovered.failure;
    }
    const { log } = recovered;
    this.follow(log, log.checkpoint === null ? 1 : await checkpointSequence(log, log.checkpoint));
  }

  private follow(log: Log, from: number): void {
    this.log = log;
    const reaper = reap(log, () => Math.min(log.durableSequence, log.vouchedSequence));
    const environment = {
      clock: this.life,
      space: () => this.disk.space(),
      limits: LIMITS,
      onCheckpoint: (reached: ReachedCheckpoint) => reaper.handleCheckpoint(reached),
    };
    this.volume = new VolumeFollower(log, environment, from);
  }
}
