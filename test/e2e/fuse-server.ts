/**
 * A server for the FUSE tests: the real file system in a store directory, mounted, in a process of
 * its own (a process that serves a mount must not wait for files on it).
 *
 *     fuse-server.ts STORE MOUNTPOINT
 *
 * Prints "mounted", then answers each line on standard input with one line of JSON: `calls` (sync
 * requests since the last time), `statistics` (of the session), `fs` (of the file system), `block`
 * and `unblock` (waiting for the network level takes until then). Unmounts at the end of its input.
 */
import { createInterface } from "node:readline";
import { messageOf } from "../../lib/errors.ts";
import type { Committer } from "../../logfs/core/fs/api.ts";
import { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import { initialise } from "../../logfs/core/fs/inodes.ts";
import { formatVolume, openVolume } from "../../logfs/core/fs/volume-open.ts";
import type { TreeVolume } from "../../logfs/core/fs/volume.ts";
import { Log } from "../../logfs/core/log/log.ts";
import type { SyncLevel, SyncRequest } from "../../logfs/core/vfs.ts";
import { type FuseServer, serveFuse, SOLE_WRITER } from "../../logfs/export/fuse/serve.ts";
import { FileSegmentStore } from "../../logfs/log/store.ts";
import { systemTime } from "../../sys/time.ts";

const OPTIONS = { segmentBytes: 16 * 2 ** 20, allocationBytes: 2 ** 20 };

/** Everything is as safe as asked at once, except while blocked. */
class TestCommitter implements Committer {
  private gate: Promise<void> | undefined;
  private open: (() => void) | undefined;

  wait(_sequence: number, level: SyncLevel): Promise<void> | undefined {
    return level === "network" ? this.gate : undefined;
  }

  block(): void {
    this.gate = new Promise((done) => {
      this.open = done;
    });
  }

  unblock(): void {
    this.open?.();
    this.gate = undefined;
  }
}

/** Notes which sync requests arrive. */
class NotingFileSystem extends FileSystem {
  calls: string[] = [];

  override write(handle: number, offset: number, data: Uint8Array, sync: SyncRequest) {
    this.calls.push(`write ${sync}`);
    return super.write(handle, offset, data, sync);
  }

  override fsync(inode: number, request: "data" | "full") {
    this.calls.push(`fsync ${request}`);
    return super.fsync(inode, request);
  }
}

async function openFileSystem(directory: string, committer: Committer) {
  const store = new FileSegmentStore(directory, { reserveBytes: 2 ** 20 });
  const volume = store.list().length === 0 ? formatStore(store) : await recoverStore(store);
  const fs = new NotingFileSystem(volume, committer);
  await fs.finishPending();
  return fs;
}

function formatStore(store: FileSegmentStore): TreeVolume {
  const logId = new Uint8Array(16).fill(7);
  const log = Log.create(store, { ...OPTIONS, logId }, systemTime);
  log.startEpoch(1, 1);
  const environment = { clock: systemTime, space: () => store.space() };
  return formatVolume(log, environment, { volumeId: logId }, (transaction) =>
    initialise(transaction, {
      uid: process.getuid?.() ?? 0,
      gid: process.getgid?.() ?? 0,
      mode: 0o755,
      nowMicros: systemTime.wallMicros(),
      nameSeed: 7,
    }),
  );
}

async function recoverStore(store: FileSegmentStore): Promise<TreeVolume> {
  const recovered = Log.recover(store, OPTIONS, systemTime);
  if (!recovered.ok) throw recovered.failure;
  const { log } = recovered;
  if (log.checkpoint === null) throw new Error("no checkpoint");
  log.startEpoch(log.epoch + 1, 2);
  return openVolume(log, log.checkpoint, { clock: systemTime, space: () => store.space() });
}

function note(fields: object, message: string): void {
  process.stderr.write(`${message} ${JSON.stringify(fields)}\n`);
}

function answer(
  line: string,
  fs: NotingFileSystem,
  committer: TestCommitter,
  server: FuseServer,
): unknown {
  switch (line) {
    case "calls":
      return fs.calls.splice(0);
    case "statistics":
      return server.statistics;
    case "fs":
      return fs.statistics;
    case "block":
      return committer.block();
    case "unblock":
      return committer.unblock();
    default:
      throw new Error(`unknown command ${line}`);
  }
}

async function main(store: string, mountpoint: string): Promise<void> {
  const committer = new TestCommitter();
  const fs = await openFileSystem(store, committer);
  const server = await serveFuse(
    fs,
    {
      mountpoint,
      fsName: "fuse-test",
      access: "read-write",
      audience: process.geteuid?.() === 0 ? "everybody" : "owner",
      caching: SOLE_WRITER,
    },
    { debug: note, info: note, warn: note, error: note },
  );
  process.stdout.write("mounted\n");
  const commands = createInterface({ input: process.stdin });
  commands.on("line", (line) => {
    const result = answer(line, fs, committer, server) ?? null;
    process.stdout.write(`${JSON.stringify(result)}
`);
  });
  commands.once("close", () => void server.unmount());
  await server.ended;
  process.exit(0);
}

const [store, mountpoint] = process.argv.slice(2);
main(String(store), String(mountpoint)).catch((error: unknown) => {
  process.stdout.write(`failed: ${messageOf(error)}\n`);
  process.exit(1);
});
