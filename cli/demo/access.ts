/**
 * How a demonstration uses the file systems of its sites: mounted, by ordinary programs through the
 * kernel; or, where nothing can be mounted, through the library inside the site processes. What is
 * counted and compared is the same, and is kept outside both sites.
 */
import { spawn } from "node:child_process";
import { closeSync, mkdtempSync, rmdirSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SmfsError } from "../../lib/errors.ts";
import { mountFuse } from "../../logfs/export/fuse/mount.ts";
import type { SiteStatus } from "../../web/status-types.ts";
import type { SiteCommand } from "./site-process.ts";
import { countMessages } from "./messages.ts";
import { Child, Dialogue } from "./processes.ts";
import { recordTree, type TreeRecord } from "./tree.ts";

export interface SitePaths {
  readonly name: "primary" | "mirror";
  readonly store: string;
  readonly mountPoint: string;
}

export interface Access {
  readonly kind: "fuse" | "library";
  /** Where people find the site's files, for a line on the terminal. */
  describe(site: SitePaths): string;
  startSite(site: SitePaths, flags: readonly string[]): Child;
  /** The file system can be used. */
  isServed(status: SiteStatus): boolean;
  /** Copies a tree of this machine into the primary, closed by a barrier. */
  copy(source: string): Promise<void>;
  /** Begins to append messages at the primary; `note` gets each acknowledgement. */
  startMessages(note: (line: string) => void): Promise<void>;
  /** Processes of the primary site besides the site itself: they die with it. */
  readonly programs: readonly Child[];
  /** What the mirror has of the tree, and how many right messages. */
  recordCopy(): Promise<TreeRecord>;
  countMessages(): Promise<number>;
  /** One small file at the primary, where nobody else can put one; nothing when people can. */
  writeSample(number: number): Promise<void>;
}

const COPY = "tree";
const MESSAGES = "messages.log";
const WRITER = fileURLToPath(new URL("./writer.js", import.meta.url));
const SITE = fileURLToPath(new URL("./site-process.js", import.meta.url));

/** Why nothing can be mounted here; undefined when it can. Found out by mounting something. */
export async function whyNoMount(): Promise<string | undefined> {
  const mountpoint = mkdtempSync(join(tmpdir(), "smfs-probe-"));
  try {
    const options = {
      mountpoint,
      fsName: "probe",
      access: "read-only",
      audience: "owner",
    } as const;
    const mounted = await mountFuse(options);
    await mounted.unmount();
    closeSync(mounted.fd);
    return undefined;
  } catch (error) {
    if (!(error instanceof SmfsError)) throw error;
    return error.message;
  } finally {
    rmdirSync(mountpoint);
  }
}

export class MountedAccess implements Access {
  readonly kind = "fuse";
  readonly programs: Child[] = [];
  private readonly primary: SitePaths;
  private readonly mirror: SitePaths;

  constructor(primary: SitePaths, mirror: SitePaths) {
    this.primary = primary;
    this.mirror = mirror;
  }

  describe({ name, mountPoint }: SitePaths): string {
    const use = name === "primary" ? "read-write: put files here" : "read-only: see them arrive";
    return `${mountPoint}   (${use})`;
  }

  startSite({ name, store, mountPoint }: SitePaths, flags: readonly string[]): Child {
    return new Child(`${name} site`, SITE, [store, mountPoint, ...flags]);
  }

  isServed({ mount, role }: SiteStatus): boolean {
    return mount !== null && mount.readOnly === (role === "mirror");
  }

  async copy(source: string): Promise<void> {
    const { mountPoint } = this.primary;
    await copyWithTools(source, join(mountPoint, COPY));
    const root = await open(mountPoint, "r");
    await root.sync().finally(() => root.close());
  }

  startMessages(note: (line: string) => void): Promise<void> {
    const writer = new Child("the writer", WRITER, [join(this.primary.mountPoint, MESSAGES)]);
    writer.eachLine(note);
    this.programs.push(writer);
    return Promise.resolve();
  }

  recordCopy(): Promise<TreeRecord> {
    return recordTree(join(this.mirror.mountPoint, COPY));
  }

  async countMessages(): Promise<number> {
    return countMessages(await readFile(join(this.mirror.mountPoint, MESSAGES)));
  }

  writeSample(): Promise<void> {
    return Promise.resolve();
  }
}

/** Ordinary tools: cp -a, as an administrator would. */
async function copyWithTools(source: string, target: string): Promise<void> {
  const copy = spawn("cp", ["-a", source, target], { stdio: ["ignore", "ignore", "inherit"] });
  const code = await new Promise((resolve, reject) => {
    copy.once("error", reject);
    copy.once("exit", resolve);
  });
  if (code !== 0) throw new SmfsError("IO", `cp -a ${source} ended with exit code ${String(code)}`);
}

export class LibraryAccess implements Access {
  readonly kind = "library";
  readonly programs: readonly Child[] = [];
  private readonly dialogues = new Map<SitePaths["name"], Dialogue>();
  private note: (line: string) => void = () => {};

  describe({ name, store }: SitePaths): string {
    const use = name === "primary" ? "a file is written now and then" : "follows";
    return `${store}   (not mounted: ${use})`;
  }

  startSite({ name, store }: SitePaths, flags: readonly string[]): Child {
    const child = new Child(`${name} site`, SITE, [store, ...flags]);
    this.dialogues.set(name, new Dialogue(child, (line) => this.note(line)));
    return child;
  }

  isServed({ state }: SiteStatus): boolean {
    return state === "running";
  }

  async copy(source: string): Promise<void> {
    await this.ask("primary", { do: "copy", source, to: COPY });
    await this.ask("primary", { do: "barrier" });
  }

  async startMessages(note: (line: string) => void): Promise<void> {
    this.note = note;
    await this.ask("primary", { do: "messages", to: MESSAGES });
  }

  async recordCopy(): Promise<TreeRecord> {
    const question = { do: "record", from: COPY } as const;
    const found = await this.ask<Recorded>("mirror", question);
    return { ...found, entries: new Map(found.entries) };
  }

  async countMessages(): Promise<number> {
    const question = { do: "count", from: MESSAGES } as const;
    return (await this.ask<{ messages: number }>("mirror", question)).messages;
  }

  async writeSample(number: number): Promise<void> {
    await this.ask("primary", { do: "write", to: `sample-${number}`, text: `file ${number}\n` });
  }

  private ask<T>(site: SitePaths["name"], command: SiteCommand): Promise<T> {
    const dialogue = this.dialogues.get(site);
    if (dialogue === undefined) throw new SmfsError("USAGE", `the ${site} was not started`);
    return dialogue.ask<T>(command);
  }
}

/** A `TreeRecord` as it travels in JSON. */
type Recorded = Omit<TreeRecord, "entries"> & { readonly entries: [string, string][] };
