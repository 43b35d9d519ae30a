/** A file system on a simulated disk, damage to it, and its repair. */
import { expect } from "vitest";
import type { CheckReport } from "../logfs/core/fs/check.ts";
import { type RepairOptions, repairStore } from "../logfs/core/fs/repair.ts";
import { type RepairAction, RepairReport } from "../logfs/core/fs/repair-report.ts";
import { S_IFDIR } from "../logfs/core/fs/modes.ts";
import type { SegmentStore } from "../logfs/core/log/api.ts";
import type { ScannedRecord } from "../logfs/core/log/scan.ts";
import { surveyLog } from "../logfs/core/log/survey.ts";
import type { DirectoryEntry } from "../logfs/core/vfs.ts";
import { toHex } from "../lib/bytes.ts";
import { Prng } from "../lib/prng.ts";
import { bytesOf, FsWorld, name, READ, READ_WRITE, ROOT } from "./fs-world.ts";
import { VirtualClock } from "./sim/clock.ts";
import type { SimulatedDisk } from "./sim/disk.ts";

const LOG_ID = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const SEGMENT_BYTES = 256 * 1024;

export function smallSegments(): FsWorld {
  const log = { segmentBytes: SEGMENT_BYTES, allocationBytes: 32 * 1024 };
  return new FsWorld({ nodeBytes: 1024, log, limits: { dirtyBytes: 30_000 } });
}

/** Directories, files of all sizes, links, attributes; what `treeOf` would give for it. */
export async function populate(world: FsWorld, files: number, seed: number): Promise<void> {
  const { fs } = world;
  const random = new Prng(seed);
  const directories = [1];
  for (let i = 0; i < files; i++) {
    const parent = directories[random.below(directories.length)] as number;
    if (i % 9 === 0) {
      const made = await world.run(fs.mkdir(ROOT, parent, name(`d${i}`), 0o755));
      directories.push(made.inode);
      continue;
    }
    const made = await world.run(fs.create(ROOT, parent, name(`f${i}`), 0o644, true, READ_WRITE));
    const { inode } = made.attributes;
    await world.run(fs.write(made.handle, 0, bytesOf(random.below(9000), i), "none"));
    if (i % 5 === 0) await world.run(fs.write(made.handle, 50, bytesOf(500, i + 1), "none"));
    await world.run(fs.release(made.handle));
    if (i % 7 === 0) await world.run(fs.link(ROOT, inode, 1, name(`l${i}`)));
    if (i % 6 === 0) await world.run(fs.setxattr(ROOT, inode, name("user.a"), bytesOf(3000, i), 0));
    if (i % 11 === 0) await world.run(fs.symlink(ROOT, parent, name(`s${i}`), name(`f${i}`)));
    if (i % 13 === 0) await world.run(fs.unlink(ROOT, parent, name(`f${i}`)));
  }
}

/** Path → type, size, contents: everything that can be reached. "EIO" for what cannot be read. */
export async function treeOf(world: FsWorld): Promise<Map<string, string>> {
  const tree = new Map<string, string>();
  const { fs } = world;
  const visit = async (directory: number, path: string): Promise<void> => {
    const entries: { inode: number; name: Uint8Array }[] = [];
    const note = (entry: DirectoryEntry): boolean =>
      entries.push({ inode: entry.inode, name: entry.name.slice() }) > 0;
    await world.run(fs.readdir(ROOT, directory, 0, note));
    for (const entry of entries) {
      const text = String.fromCharCode(...entry.name);
      if (text === "." || text === "..") continue;
      const inner = `${path}/${text}`;
      tree.set(inner, await describe(entry.inode));
      const { mode } = await world.run(fs.getattr(entry.inode));
      if ((mode & 0o170000) === S_IFDIR) await visit(entry.inode, inner);
    }
  };
  const describe = async (inode: number): Promise<string> => {
    const { mode, size, links } = await world.run(fs.getattr(inode));
    const type = mode & 0o170000;
    if (type !== 0o100000) return `${type.toString(8)} ${type === S_IFDIR ? "" : size}`;
    return `${links} ${size} ${await contentsOf(inode, size)}`;
  };
  const contentsOf = async (inode: number, size: number): Promise<string> => {
    const handle = await world.run(fs.open(ROOT, inode, READ));
    try {
      const bytes = Buffer.concat(await world.run(fs.read(handle, 0, size)));
      return toHex(bytes).slice(0, 64) + bytes.reduce((sum, byte) => (sum * 31 + byte) % 1e9, 7);
    } catch {
      return "EIO";
    } finally {
      await world.run(fs.release(handle));
    }
  };
  await visit(1, "");
  return tree;
}

/** Stops the file system; its disk is what is left. */
export function stop(world: FsWorld): void {
  world.settle();
  world.disk.killProcess(new Prng(1));
}

export function copyOf(disk: SimulatedDisk): SimulatedDisk {
  return disk.copy(new VirtualClock().schedule);
}

export function recordsOf(disk: SegmentStore): ScannedRecord[] {
  const records: ScannedRecord[] = [];
  for (const part of surveyLog(disk, LOG_ID)) if (part.kind === "record") records.push(part.record);
  return records;
}

export interface Repaired {
  readonly check: CheckReport;
  readonly actions: readonly RepairAction[];
  readonly left: number;
}

export async function repair(
  world: FsWorld,
  options: Partial<RepairOptions> = {},
  wait: <T>(answer: Promise<T>) => Promise<T> = (answer) => world.run(answer),
): Promise<Repaired> {
  const report = new RepairReport(() => {});
  const log = {
    segmentBytes: SEGMENT_BYTES,
    allocationBytes: 32 * 1024,
    writerId: new Uint8Array(16),
  };
  const check = await wait(
    repairStore(
      world.disk,
      {
        log,
        logId: LOG_ID,
        term: 0,
        extent: "everything",
        keepAside: () => {},
        mirror: null,
        depth: "data",
        damagedData: "leave",
        ...options,
      },
      world.clock,
      report,
    ),
  );
  return { check, actions: report.actions, left: report.left };
}

export function expectClean({ check, actions }: Repaired): void {
  expect(check.findings, JSON.stringify(actions, null, 1)).toEqual([]);
  expect(check).toMatchObject({ complete: true, errors: 0, warnings: 0 });
}
