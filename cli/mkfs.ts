/** `smfs mkfs` makes a store; `smfs genkey` and `smfs pubkey` the keys that sites know each other by. */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, statfsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Command } from "commander";
import { SmfsError } from "../lib/errors.ts";
import { parseSize } from "../lib/units.ts";
import { generateKey, publicKeyOf } from "../gateway/udp/keys.ts";
import { initialise } from "../logfs/core/fs/inodes.ts";
import { formatVolume } from "../logfs/core/fs/volume-open.ts";
import { EPOCH_REASON } from "../logfs/core/log/epoch.ts";
import { Log } from "../logfs/core/log/log.ts";
import { type ResolvedOptions, resolveOptions } from "../logfs/core/log/options.ts";
import { StoreRegistry } from "../logfs/log/registry.ts";
import { FileSegmentStore } from "../logfs/log/store.ts";
import { systemTime } from "../sys/time.ts";
import { parseFlag } from "./exit.ts";
import { closeLog } from "./site/primary.ts";

/** A write of 1 MiB, with the extents that it replaces, is one record; a record is in one segment. */
const MIN_SEGMENT_BYTES = 2 * 2 ** 20;
const MAX_DEFAULT_SEGMENT_BYTES = 100_000_000;
const SEGMENTS_OF_A_DEVICE = 64;

export function mkfsCommand(): Command {
  return new Command("mkfs")
    .description("make a store: an empty file system, or the place where a mirror will be")
    .argument("<store>", "a directory that is missing or empty")
    .option("--mirror", "make a mirror: it takes the log of the first primary that connects")
    .option("--segment-size <size>", "of the log's files (default: 100MB, less on a small device)")
    .action(mkfs);
}

const STDIN = 0;

const KEY_EPILOGUE = `
Example, with a key of its own at each site:
  (umask 077; smfs genkey > /etc/smfs/private)
  smfs pubkey < /etc/smfs/private   # public_key in the other site's configuration`;

export function pubkeyCommand(): Command {
  return new Command("pubkey")
    .description("read a private key from standard input, print its public key")
    .addHelpText("after", KEY_EPILOGUE)
    .action(() => {
      process.stdout.write(`${publicKeyOf(readFileSync(STDIN, "latin1"))}\n`);
    });
}

export function genkeyCommand(): Command {
  return new Command("genkey")
    .description(
      "print a new key: for key_file, the same at both sites, or for one private_key_file",
    )
    .addHelpText("after", KEY_EPILOGUE)
    .action(() => {
      process.stdout.write(`${generateKey()}\n`);
    });
}

function segmentOptions(text: string): ResolvedOptions {
  const segmentBytes = parseSize(text);
  if (segmentBytes < MIN_SEGMENT_BYTES) throw new SmfsError("USAGE", "a segment is at least 2MiB");
  return resolveOptions({ segmentBytes });
}

/** The cleaner keeps one segment and more for itself: that must be little of the device. */
function defaultSegmentBytes(path: string): number {
  let place = resolve(path);
  while (!existsSync(place)) place = dirname(place);
  const { bsize, blocks } = statfsSync(place);
  const share = Math.floor((bsize * blocks) / SEGMENTS_OF_A_DEVICE / MIN_SEGMENT_BYTES);
  return Math.min(MAX_DEFAULT_SEGMENT_BYTES, Math.max(1, share) * MIN_SEGMENT_BYTES);
}

async function mkfs(path: string, flags: { mirror?: true; segmentSize?: string }): Promise<void> {
  if (flags.mirror) {
    StoreRegistry.create(path, "mirror");
    process.stdout.write(`${path}: an empty mirror; mount it with --listen and --key-file\n`);
    return;
  }
  const { segmentSize = String(defaultSegmentBytes(path)) } = flags;
  const { segmentBytes, maxRecordBytes } = parseFlag("--segment-size", segmentSize, segmentOptions);
  const registry = StoreRegistry.create(path, "primary");
  const placement = registry.createLog(segmentBytes, maxRecordBytes);
  const store = new FileSegmentStore(placement.directory);
  const log = Log.create(
    store,
    { logId: placement.id, segmentBytes, maxRecordBytes, writerId: registry.storeId },
    systemTime,
  );
  log.startEpoch(1, EPOCH_REASON.created);
  const environment = { clock: systemTime, space: () => store.space() };
  formatVolume(log, environment, { volumeId: randomBytes(16) }, (transaction) =>
    initialise(transaction, {
      uid: process.getuid?.() ?? 0,
      gid: process.getgid?.() ?? 0,
      mode: 0o755,
      nowMicros: systemTime.wallMicros(),
      nameSeed: randomBytes(4).readUInt32LE(),
    }),
  );
  await closeLog(log);
  store.close();
  if (log.failure !== null) throw new SmfsError("IO", log.failure.message, log.failure);
  process.stdout.write(`${path}: an empty file system; mount it with 'smfs mount ${path} DIR'\n`);
}
