/**
 * The metadata server of one machine (SMFS §4.1), embedded: which logs a store holds, where, and in
 * which role. `store.json` in the store's directory, replaced atomically and synced with its
 * directory, so that a crash leaves the old or the new one.
 *
 *   STORE/store.json        this file
 *   STORE/log-<id>/         the segments of one log
 *   STORE/setaside/         records that gave way to another history, kept for people
 *   STORE/control.sock      the running process's control socket
 */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { fromHex, toHex } from "../../lib/bytes.ts";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import { syncDirectory } from "./transfer.ts";

const FILE = "store.json";
const hex16 = z.string().regex(/^[0-9a-f]{32}$/);

const Contents = z.strictObject({
  /** Version of this file's layout. */
  version: z.literal(1),
  storeId: hex16,
  role: z.enum(["primary", "mirror"]),
  /** Epochs started here have at least this term; promotion raises it. */
  term: z.int().min(0),
  /** Promoted: there is no mirror until one is added, so nothing waits for one. */
  standalone: z.boolean(),
  /** A later term exists elsewhere, and how that is known: this store is not written to again. */
  fencedBy: z.string().nullable(),
  log: z
    .strictObject({
      id: hex16,
      segmentBytes: z.int().positive(),
      maxRecordBytes: z.int().positive(),
      /** Ids of the logs of which this one is a fork: older segments may be theirs. */
      ancestors: z.array(hex16).optional(),
    })
    .nullable(),
  /**
   * The end of a mirror's log was damaged and cut off: the primary has not sent it again before the
   * log is at this record.
   */
  lostSequence: z.int().positive().optional(),
});
type Contents = z.infer<typeof Contents>;

export type Role = Contents["role"];
export interface LogPlacement {
  readonly id: Uint8Array;
  readonly directory: string;
  readonly segmentBytes: number;
  readonly maxRecordBytes: number;
  /** Ids of the logs of which this one is a fork. */
  readonly ancestors: readonly Uint8Array[];
}

export class StoreRegistry {
  readonly path: string;
  private contents: Contents;

  private constructor(path: string, contents: Contents) {
    this.path = path;
    this.contents = contents;
  }

  /** Makes a store in a directory that is missing or empty. */
  static create(path: string, role: Role): StoreRegistry {
    StoreRegistry.prepare(path);
    const registry = new StoreRegistry(path, newContents(role));
    registry.save();
    return registry;
  }

  /** Makes the directory of a store that will be. Throws `SmfsError` BUSY when something is there. */
  static prepare(path: string): void {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    if (existsSync(join(path, FILE))) {
      throw new SmfsError(
        "BUSY",
        `${path} already holds a store; remove it first to make a new one`,
      );
    }
    if (readdirSync(path).length > 0) {
      throw new SmfsError("BUSY", `${path} is not empty; a store needs a directory of its own`);
    }
  }

  /** The store of a fork, in a prepared directory, for a log that is already there: from here on it is a store. */
  static createForked(path: string, log: LogPlacement): StoreRegistry {
    const contents = { ...newContents("primary"), standalone: true, log: logEntry(log) };
    const registry = new StoreRegistry(path, contents);
    registry.save();
    return registry;
  }

  static open(path: string): StoreRegistry {
    let text: string;
    try {
      text = readFileSync(join(path, FILE), "utf8");
    } catch (error) {
      const hint = `${path} holds no store; make one with 'smfs mkfs ${path}'`;
      throw new SmfsError("NOT_FOUND", hint, error);
    }
    return new StoreRegistry(path, parseContents(path, text));
  }

  get role(): Role {
    return this.contents.role;
  }

  get term(): number {
    return this.contents.term;
  }

  get standalone(): boolean {
    return this.contents.standalone;
  }

  get fencedBy(): string | null {
    return this.contents.fencedBy;
  }

  /** A mirror's log has lost records, and is whole again when it has this one; null: it is whole. */
  get lostSequence(): number | null {
    return this.contents.lostSequence ?? null;
  }

  get storeId(): Uint8Array {
    return fromHex(this.contents.storeId);
  }

  get log(): LogPlacement | null {
    const { log } = this.contents;
    if (log === null) return null;
    const ancestors = (log.ancestors ?? []).map(fromHex);
    return { ...log, id: fromHex(log.id), directory: logDirectory(this.path, log.id), ancestors };
  }

  /**
   * Opens the file for records that gave way behind record `sequence`, to append to it. Its name is
   * durable: the records are cut from the log as soon as the file is synced.
   */
  openSetAside(sequence: number): { readonly fd: number; readonly name: string } {
    return this.openAside(`setaside-${sequence}.log`);
  }

  /** The same for the damaged end of a segment, from an address on, as it stood there. */
  openDamaged(segment: number, offset: number): { readonly fd: number; readonly name: string } {
    return this.openAside(`damaged-${segment}-${offset}.raw`);
  }

  private openAside(file: string): { readonly fd: number; readonly name: string } {
    const directory = join(this.path, "setaside");
    makeDirectory(directory);
    const name = join(directory, file);
    const fd = openSync(name, "a", 0o600);
    syncDirectory(directory);
    return { fd, name };
  }

  get controlSocket(): string {
    return join(this.path, "control.sock");
  }

  /** SMFS §4.2 `create()`: allots a place for a new log and remembers it. */
  createLog(segmentBytes: number, maxRecordBytes: number, id = randomBytes(16)): LogPlacement {
    const log = { id: Buffer.from(id).toString("hex"), segmentBytes, maxRecordBytes };
    this.contents = { ...this.contents, log };
    this.save();
    const placement = this.log;
    if (placement === null) throw new SmfsError("IO", "the new log was not recorded");
    makeDirectory(placement.directory);
    return placement;
  }

  /** The mirror's log lost its end: records up to `sequence` were there. */
  noteLoss(sequence: number): void {
    const lostSequence = Math.max(sequence, this.lostSequence ?? 0);
    this.contents = { ...this.contents, lostSequence };
    this.save();
  }

  /** Superseded by a promotion: also after a restart, nothing is written here any more. */
  fence(reason: string): void {
    this.contents = { ...this.contents, fencedBy: reason };
    this.save();
  }

  /** From now on this store writes, in a later term than any it has seen. */
  promote(term: number): void {
    const { lostSequence: _, ...kept } = this.contents;
    this.contents = { ...kept, role: "primary", term, standalone: true, fencedBy: null };
    this.save();
  }

  /** A copy of another store becomes its mirror: a store of its own that only follows. */
  adoptAsMirror(): void {
    const { lostSequence: _, term, log } = this.contents;
    this.contents = { ...newContents("mirror"), term, log };
    this.save();
  }

  private save(): void {
    const target = join(this.path, FILE);
    const temporary = `${target}.new`;
    const fd = openSync(temporary, "w", 0o600);
    try {
      writeSync(fd, `${JSON.stringify(this.contents, null, 2)}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, target);
    syncDirectory(this.path);
  }
}

function newContents(role: Role): Contents {
  return {
    version: 1,
    storeId: randomBytes(16).toString("hex"),
    role,
    term: 0,
    standalone: false,
    fencedBy: null,
    log: null,
  };
}

function logEntry({ id, segmentBytes, maxRecordBytes, ancestors }: LogPlacement): Contents["log"] {
  return { id: toHex(id), segmentBytes, maxRecordBytes, ancestors: ancestors.map(toHex) };
}

/** Where the segments of a log with this id stand in a store. */
export function logDirectory(path: string, id: string): string {
  return join(path, `log-${id.slice(0, 8)}`);
}

function parseContents(path: string, text: string): Contents {
  try {
    return Contents.parse(JSON.parse(text));
  } catch (error) {
    const name = join(path, FILE);
    throw new SmfsError("DAMAGED", `${name} is damaged: ${messageOf(error)}`, error);
  }
}

/** Its name is durable when this returns. */
function makeDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  syncDirectory(dirname(path));
}
