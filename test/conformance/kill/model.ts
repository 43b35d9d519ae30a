/**
 * What a folder must hold after a number of steps, each of which is one system call.
 *
 * - A step is done whole or not at all, except that the kernel sends a write through its page cache
 *   as several requests, cut where pages begin (fuse_fill_write_pages): a first part of it may be there.
 * - Steps follow from a seed and from what the folder holds, so that the writer, which does them, and
 *   whoever checks the folder afterwards need to agree on a number only.
 * - Files are small and few: what a folder holds is bounded, however long the writers run.
 */
import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Prng } from "../../../lib/prng.ts";

export type Step =
  | { readonly do: "create"; readonly name: string }
  | { readonly do: "write"; readonly name: string; readonly offset: number; readonly data: Buffer }
  | { readonly do: "truncate"; readonly name: string; readonly size: number }
  | { readonly do: "rename" | "link"; readonly name: string; readonly to: string }
  | { readonly do: "unlink" | "fsync"; readonly name: string };

/** Files may have several names. */
interface File {
  content: Buffer;
}

const FOLDERS = ["a", "b"];
const NAMES = FOLDERS.flatMap((folder) => Array.from({ length: 10 }, (_, i) => `${folder}/${i}`));
const FILE_BYTES = 200_000;
const WRITE_BYTES = 50_000;
const PAGE_BYTES = 4096;

export class Model {
  private readonly files: Map<string, File>;

  private constructor(files: Map<string, File>) {
    this.files = files;
  }

  /** An empty folder, made. */
  static make(directory: string): Model {
    for (const folder of FOLDERS) mkdirSync(join(directory, folder), { recursive: true });
    return new Model(new Map());
  }

  /** What is there. */
  static load(directory: string): Model {
    const files = new Map<string, File>();
    const byInode = new Map<number, File>();
    for (const name of namesIn(directory)) {
      const path = join(directory, name);
      const { ino } = statSync(path);
      const file = byInode.get(ino) ?? { content: readFileSync(path) };
      byInode.set(ino, file);
      files.set(name, file);
    }
    return new Model(files);
  }

  next(random: Prng): Step {
    const there = NAMES.filter((name) => this.files.has(name));
    const free = NAMES.filter((name) => !this.files.has(name));
    if (there.length === 0 || (free.length > 0 && random.chance(0.1))) {
      return { do: "create", name: random.pick(free) };
    }
    const name = random.pick(there);
    const dice = random.float();
    if (dice < 0.55) return this.nextWrite(name, random);
    if (dice < 0.75) return { do: "fsync", name };
    if (dice < 0.85) return { do: "rename", name, to: random.pick(NAMES) };
    if (dice < 0.9 && free.length > 0) return { do: "link", name, to: random.pick(free) };
    if (dice < 0.95) return { do: "truncate", name, size: random.below(FILE_BYTES) };
    return { do: "unlink", name };
  }

  /** Appends and overwrites, aligned and not. */
  private nextWrite(name: string, random: Prng): Step {
    const size = this.files.get(name)?.content.length ?? 0;
    const appends = random.chance(0.5) && size < FILE_BYTES - WRITE_BYTES;
    const offset = appends ? size : random.below(FILE_BYTES - WRITE_BYTES);
    const data = Buffer.alloc(4 * (1 + random.below(WRITE_BYTES / 4)));
    const first = random.u32();
    for (let at = 0; at < data.length; at += 4) data.writeUInt32LE((first + at) >>> 0, at);
    return { do: "write", name, offset, data };
  }

  apply(step: Step): void {
    const file = this.files.get(step.name) ?? { content: Buffer.alloc(0) };
    switch (step.do) {
      case "create":
        this.files.set(step.name, file);
        return;
      case "write": {
        const end = step.offset + step.data.length;
        file.content = resized(file.content, Math.max(file.content.length, end));
        step.data.copy(file.content, step.offset);
        return;
      }
      case "truncate":
        file.content = resized(file.content, step.size);
        return;
      case "rename":
        // Onto another name of the same file: rename(2) does nothing.
        if (this.files.get(step.to) === file) return;
        this.files.delete(step.name);
        this.files.set(step.to, file);
        return;
      case "link":
        this.files.set(step.to, file);
        return;
      case "unlink":
        this.files.delete(step.name);
        return;
      case "fsync":
        return;
    }
  }

  /** The first thing that is otherwise in the directory; undefined when all is as it should be. */
  difference(directory: string): string | undefined {
    const found = Model.load(directory);
    const names = [...this.files.keys()].sort();
    const there = [...found.files.keys()].sort();
    if (names.join(" ") !== there.join(" "))
      return `names ${there.join(" ")}, not ${names.join(" ")}`;
    for (const [name, { content }] of this.files) {
      const other = found.files.get(name)?.content ?? Buffer.alloc(0);
      if (content.equals(other)) continue;
      const at = content.findIndex((byte, i) => other[i] !== byte);
      return `${name}: ${other.length} bytes, not ${content.length}, the first wrong one at ${at}`;
    }
    return undefined;
  }
}

/** What there may be of a step that was under way, from least to all of it; each contains those before. */
export function* partsOf(step: Step): Generator<Step> {
  if (step.do === "write") {
    const { offset, data } = step;
    const first = PAGE_BYTES - (offset % PAGE_BYTES);
    for (let end = first; end < data.length; end += PAGE_BYTES) {
      yield { ...step, data: data.subarray(0, end) };
    }
  }
  yield step;
}

function resized(content: Buffer, size: number): Buffer {
  const next = Buffer.alloc(size);
  content.copy(next);
  return next;
}

function namesIn(directory: string): string[] {
  return FOLDERS.flatMap((folder) =>
    readdirSync(join(directory, folder)).map((name) => `${folder}/${name}`),
  );
}

/** One system call changes the folder; open and close around it do not. */
export function perform(directory: string, step: Step): void {
  const path = join(directory, step.name);
  switch (step.do) {
    case "create":
      return withFile(path, "wx", () => undefined);
    case "write":
      return withFile(path, "r+", (fd) => {
        const { data, offset } = step;
        const written = writeSync(fd, data, 0, data.length, offset);
        // Less than all: the server died between two requests, and the rest says so.
        if (written < data.length) writeSync(fd, data, written, null, offset + written);
      });
    case "truncate":
      return withFile(path, "r+", (fd) => ftruncateSync(fd, step.size));
    case "fsync":
      return withFile(path, "r+", (fd) => fsyncSync(fd));
    case "rename":
      return renameSync(path, join(directory, step.to));
    case "link":
      return linkSync(path, join(directory, step.to));
    case "unlink":
      return unlinkSync(path);
  }
}

function withFile(path: string, flags: string, use: (fd: number) => void): void {
  const fd = openSync(path, flags);
  try {
    use(fd);
  } finally {
    closeSync(fd);
  }
}
