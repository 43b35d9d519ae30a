/** Stores on a real disk, opened without mounts: what tests of forks do all the time. */
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, vi } from "vitest";
import { configFrom } from "../cli/config.ts";
import { mkfsCommand } from "../cli/mkfs.ts";
import { openOffline } from "../cli/offline.ts";
import { openPrimary, type PrimarySite } from "../cli/site/primary.ts";
import { checkVolume } from "../logfs/core/fs/check.ts";
import { inspectLog } from "../logfs/core/log/inspect.ts";
import { StoreRegistry } from "../logfs/log/registry.ts";
import { systemTime } from "../sys/time.ts";
import { name, READ_WRITE, ROOT } from "./fs-world.ts";
import { readFiles } from "./sim/read-back.ts";

export const SILENT = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
/** Bytes of one write. */
const WRITE_BYTES = 2 ** 20;

/** Names and contents. */
export type Digests = ReadonlyMap<string, string>;

export class ForkWorld {
  readonly directory = mkdtempSync(join(tmpdir(), "smfs-fork-"));
  private readonly open = new Set<PrimarySite>();

  at(store: string): string {
    return resolve(this.directory, store);
  }

  async mkfs(store: string): Promise<PrimarySite> {
    await mkfsCommand().parseAsync([this.at(store), "--segment-size", "2MiB"], { from: "user" });
    return this.mount(store);
  }

  async mount(store: string): Promise<PrimarySite> {
    const registry = StoreRegistry.open(this.at(store));
    const events = { onSettled: () => {}, onFenced: () => {} };
    const config = configFrom({}, this.at(store));
    const site = await openPrimary(registry, config, systemTime, SILENT, events);
    this.open.add(site);
    return site;
  }

  async unmount(site: PrimarySite): Promise<void> {
    this.open.delete(site);
    await site.close();
  }

  async close(): Promise<void> {
    for (const site of this.open) await site.close();
    this.open.clear();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** What `smfs fsck --deep` looks at. */
  async findings(store: string): Promise<readonly unknown[]> {
    const { files, options, close } = openOffline(this.at(store), "keep out");
    try {
      const { log, failure, store: shadow } = inspectLog(files, options, systemTime);
      expect(failure).toBeNull();
      if (log === null || log.checkpoint === null) throw new Error("no file system");
      const segments = shadow.list();
      return (await checkVolume(log, log.checkpoint, { segments, depth: "data" })).findings;
    } finally {
      close();
    }
  }

  /** Names of each segment's file. */
  links(store: string): number[] {
    const log = StoreRegistry.open(this.at(store)).log?.directory ?? "";
    const files = readdirSync(log).filter((file) => file.endsWith(".seg"));
    return files.map((file) => statSync(join(log, file)).nlink);
  }
}

/** A file, made or written over from its start. */
export async function write(
  { fileSystem }: PrimarySite,
  file: string,
  data: Uint8Array,
): Promise<void> {
  const made = fileSystem.create(ROOT, 1, name(file), 0o644, false, READ_WRITE);
  const { handle } = await made;
  for (let from = 0; from < data.length; from += WRITE_BYTES) {
    await fileSystem.write(handle, from, data.subarray(from, from + WRITE_BYTES), "none");
  }
  await fileSystem.release(handle);
}

export async function digests({ fileSystem }: PrimarySite): Promise<Digests> {
  const sums = new Map<string, string>();
  for (const [file, data] of await readFiles(fileSystem)) sums.set(file, digest(data));
  return sums;
}

export function digest(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

export async function durable({ log }: PrimarySite): Promise<void> {
  await new Promise((done) => {
    log.whenDurable(log.head.sequence, done);
  });
}
