/** A file system in a store directory, in this process: what the scale measurements work on. */
import { initialise } from "../logfs/core/fs/inodes.ts";
import { FileSystem } from "../logfs/core/fs/filesystem.ts";
import { formatVolume, openVolume } from "../logfs/core/fs/volume-open.ts";
import { Log } from "../logfs/core/log/log.ts";
import type { Caller } from "../logfs/core/vfs.ts";
import { FileSegmentStore } from "../logfs/log/store.ts";
import { systemTime } from "../sys/time.ts";

export const ROOT_USER: Caller = { uid: 0, gid: 0, groups: () => [] };

export interface OpenStore {
  readonly fs: FileSystem;
  /** Leaves nothing to replay. */
  close(): Promise<void>;
  /** Records that opening replayed. */
  readonly replayed: number;
}

export async function openScaleStore(directory: string): Promise<OpenStore> {
  const store = new FileSegmentStore(directory);
  const log = store.list().length === 0 ? create(store) : recover(store);
  const environment = { clock: systemTime, space: () => store.space() };
  if (log.checkpoint === null) throw new Error(`${directory}: no file system`);
  const volume = await openVolume(log, log.checkpoint, environment);
  const written = (sequence: number): Promise<void> | undefined =>
    log.writtenSequence >= sequence ? undefined : whenWritten(log, sequence);
  const fs = new FileSystem(volume, { wait: written });
  await fs.finishPending();
  const close = async (): Promise<void> => {
    volume.close();
    await new Promise<void>((resolve) => log.close(() => resolve()));
    store.close();
  };
  return { fs, close, replayed: volume.statistics.replayedRecords };
}

function create(store: FileSegmentStore): Log {
  const logId = crypto.getRandomValues(new Uint8Array(16));
  const log = Log.create(store, { logId }, systemTime);
  log.startEpoch(1, 1);
  const environment = { clock: systemTime, space: () => store.space() };
  formatVolume(log, environment, { volumeId: logId }, (transaction) =>
    initialise(transaction, {
      uid: 0,
      gid: 0,
      mode: 0o755,
      nowMicros: systemTime.wallMicros(),
      nameSeed: 7,
    }),
  );
  return log;
}

function recover(store: FileSegmentStore): Log {
  const recovered = Log.recover(store, {}, systemTime);
  if (!recovered.ok) throw recovered.failure;
  return recovered.log;
}

function whenWritten(log: Log, sequence: number): Promise<void> {
  return new Promise((resolve, reject) => {
    log.whenWritten(sequence, (error) => (error === null ? resolve() : reject(error)));
  });
}
