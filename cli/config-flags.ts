/**
 * The flags that stand for keys of the configuration, laid over the file, and where a key's value
 * came from: messages name the flag, or the file and its line.
 */
import type { TomlTable } from "smol-toml";

/** Flags as commander gives them, texts as typed. */
export interface FlagValues {
  readonly config?: string;
  readonly listen?: string;
  readonly peer?: string;
  readonly keyFile?: string;
  readonly rate?: string;
  readonly targetRisk?: string;
  readonly floor?: string;
  readonly fsync?: string;
  readonly dataSync?: string;
  readonly osync?: string;
  readonly onUnreachable?: string;
  readonly timeout?: string;
  readonly capacity?: string;
  readonly allowOther?: boolean;
  readonly status?: string;
  readonly logLevel?: string;
}

type FlagName = Exclude<keyof FlagValues, "config">;

/** Key of each flag, as `section.key`, and the flag as typed. */
const FLAGS: Readonly<Record<FlagName, readonly [path: string, flag: string]>> = {
  listen: ["mirror.listen", "--listen"],
  peer: ["mirror.peer", "--peer"],
  keyFile: ["mirror.key_file", "--key-file"],
  rate: ["mirror.rate", "--rate"],
  targetRisk: ["mirror.target_risk", "--target-risk"],
  floor: ["mount.floor", "--floor"],
  fsync: ["mount.fsync", "--fsync"],
  dataSync: ["mount.data_sync", "--data-sync"],
  osync: ["mount.osync", "--osync"],
  onUnreachable: ["mount.on_unreachable", "--on-unreachable"],
  timeout: ["mount.timeout", "--timeout"],
  capacity: ["store.capacity", "--capacity"],
  allowOther: ["mount.allow_other", "--allow-other"],
  status: ["status.listen", "--status"],
  logLevel: ["log.level", "--log-level"],
};

export interface Merged {
  readonly document: TomlTable;
  /** Flag as typed by `section.key`, for the keys that came from the command line. */
  readonly flagOf: ReadonlyMap<string, string>;
}

/** The arguments and flags win over the file; `--listen` and `--peer` replace each other's key, `--key-file` other kinds. */
export function mergeFlags(
  file: TomlTable,
  flags: FlagValues,
  store: string | undefined,
  directory: string | undefined,
): Merged {
  const document = structuredClone(file);
  const flagOf = new Map<string, string>();
  const set = (path: string, value: string | boolean | number | undefined, flag: string): void => {
    if (value === undefined) return;
    const [section, key] = path.split(".") as [string, string];
    const table = sectionOf(document, section);
    if (table === null) return;
    table[key] = value;
    flagOf.set(path, flag);
  };
  dropReplaced(document, flags);
  for (const [name, [path, flag]] of Object.entries(FLAGS)) {
    set(path, asTyped(name as FlagName, flags), flag);
  }
  set("store.path", store, "store");
  set("mount.point", directory, "directory");
  return { document, flagOf };
}

/** Numbers of the file are texts on the command line. */
function asTyped(name: FlagName, flags: FlagValues): string | boolean | number | undefined {
  const value = flags[name];
  return name === "targetRisk" && value !== undefined ? Number(value) : value;
}

function dropReplaced(document: TomlTable, flags: FlagValues): void {
  const mirror = document["mirror"];
  if (!isTable(mirror)) return;
  if (flags.listen !== undefined) delete mirror["peer"];
  if (flags.peer !== undefined) delete mirror["listen"];
  if (flags.keyFile !== undefined) {
    delete mirror["private_key_file"];
    delete mirror["public_key"];
  }
}

/** null when the file has something else there, which the check will say. */
function sectionOf(document: TomlTable, section: string): TomlTable | null {
  document[section] ??= {};
  const table = document[section];
  return isTable(table) ? table : null;
}

function isTable(value: unknown): value is TomlTable {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export interface Problem {
  /** File, line and key, or the flag. */
  readonly place: string;
  readonly message: string;
  readonly isFlag: boolean;
}

/** Where the values of a configuration came from. */
export class ConfigSource {
  private readonly name: string;
  private readonly lines: readonly string[];
  private readonly flagOf: ReadonlyMap<string, string>;

  constructor(name: string, text: string, flagOf: ReadonlyMap<string, string>) {
    this.name = name;
    this.lines = text.split("\n");
    this.flagOf = flagOf;
  }

  problem(path: readonly [string, string?], message: string): Problem {
    const [section, key] = path;
    const flag = this.flagOf.get(`${section}.${key}`);
    if (flag !== undefined) return { place: flag, message, isFlag: true };
    const line = this.lineOf(section, key);
    const where = line === null ? this.name : `${this.name}:${line}`;
    const what = key === undefined ? `[${section}]` : `[${section}] ${key}`;
    return { place: `${where}: ${what}`, message, isFlag: false };
  }

  /** Of a key, a section's header or a key of the top; null when it was not written so plainly. */
  private lineOf(section: string, key: string | undefined): number | null {
    let current: string | undefined;
    for (const [index, line] of this.lines.entries()) {
      const header = /^\s*\[+\s*([^\]\s]+)\s*\]+/.exec(line)?.[1];
      current = header ?? current;
      if (key === undefined && header === section) return index + 1;
      const name = /^\s*["']?([^"'=\s]+)["']?\s*=/.exec(line)?.[1];
      if (current === section && key !== undefined && name === key) return index + 1;
      if (current === undefined && key === undefined && name === section) return index + 1;
    }
    return null;
  }
}
