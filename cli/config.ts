/**
 * The configuration: a TOML file, the flags of a command over it, checked together.
 *
 * All problems are collected into one `SmfsError` CONFIG (USAGE when all of them stand on the
 * command line), one a line, each with its place and what to write instead. The result has plain
 * numbers with their units in the names, defaults filled in.
 */
import { readFileSync } from "node:fs";
import { parse, TomlError, type TomlTable } from "smol-toml";
import { z } from "zod";
import type { AdaptationBounds } from "../gateway/core/code/adaptation.ts";
import type { CodeParameters } from "../gateway/core/code/code.ts";
import type { KeySource } from "../gateway/udp/keys.ts";
import { messageOf, SmfsError } from "../lib/errors.ts";
import type { SyncLevel } from "../logfs/core/vfs.ts";
import type { OnUnreachable } from "../mirror/core/commit.ts";
import { ConfigSource, type FlagValues, mergeFlags, type Problem } from "./config-flags.ts";
import { keyProblem, keySourceOf } from "./config-keys.ts";
import { describeIssue } from "./config-messages.ts";
import { LOG, MIRROR, MOUNT, STATUS, STORE } from "./config-table.ts";

export type { FlagValues } from "./config-flags.ts";

export interface Config {
  readonly store: {
    readonly path: string;
    readonly segmentBytes: number;
    /** null: what the device has. */
    readonly capacityBytes: number | null;
    readonly commitIntervalMicros: number;
    readonly nodeCacheBytes: number;
    readonly dirtyLimitBytes: number;
    /** Share of the used bytes that may be garbage. */
    readonly garbageShare: number;
  };
  readonly mount: {
    /** null: not mounted. */
    readonly point: string | null;
    readonly allowOther: boolean;
    readonly floor: SyncLevel;
    readonly fsync: SyncLevel;
    readonly dataSync: SyncLevel;
    readonly osync: SyncLevel;
    readonly onUnreachable: OnUnreachable;
    readonly timeoutMicros: number;
  };
  /** null: no mirror. */
  readonly mirror: MirrorConfig | null;
  readonly status: {
    /** host:port; null: no page. */
    readonly listen: string | null;
    readonly allowRemote: boolean;
  };
  readonly log: {
    readonly level: "debug" | "info" | "warn" | "error";
    /** null: standard error. */
    readonly file: string | null;
  };
}

export interface MirrorConfig {
  /** host:port; exactly one of `listen` and `peer` is not null. */
  readonly listen: string | null;
  readonly peer: string | null;
  readonly key: KeySource;
  readonly rateBitsPerSecond: number;
  readonly targetRisk: number;
  readonly code: CodeParameters;
  readonly adapt: AdaptationBounds | null;
  readonly datagramBytes: number;
}

const DOCUMENT = z.strictObject({
  store: section(STORE).prefault({}),
  mount: section(MOUNT).prefault({}),
  mirror: section(MIRROR).optional(),
  status: section(STATUS).prefault({}),
  log: section(LOG).prefault({}),
  // Of the appliance (gateway/config.ts): one file may describe both.
  gateway: z.unknown().optional(),
  peer: z.unknown().optional(),
});
type Document = z.output<typeof DOCUMENT>;

type Schemas<T> = { -readonly [K in keyof T]: T[K] extends { schema: infer S } ? S : never };

export function section<T extends Record<string, { schema: z.ZodType }>>(table: T) {
  const schemas = Object.entries(table).map(([name, { schema }]) => [name, schema]);
  return z.strictObject(Object.fromEntries(schemas) as Schemas<T>);
}

/** Throws `SmfsError` CONFIG, also when the file cannot be read. */
export function loadConfig(path: string): Config {
  return configFrom({ config: path });
}

/** `name` stands in messages for where the text is from. */
export function parseConfig(text: string, name: string): Config {
  return check(parseToml(text, name), new ConfigSource(name, text, new Map()));
}

/** The file that the flags name, if they do, and the flags and arguments over it. */
export function configFrom(flags: FlagValues, store?: string, directory?: string): Config {
  const name = flags.config ?? "the configuration";
  const text = flags.config === undefined ? "" : readText(flags.config);
  const { document, flagOf } = mergeFlags(parseToml(text, name), flags, store, directory);
  return check(document, new ConfigSource(name, text, flagOf));
}

export function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new SmfsError("CONFIG", `cannot read the configuration: ${messageOf(error)}`, error);
  }
}

export function parseToml(text: string, name: string): TomlTable {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const place = `${name}:${error.line}:${error.column}`;
    throw new SmfsError(
      "CONFIG",
      `${place}: this is not TOML: ${error.message.split("\n", 1)[0]}`,
      error,
    );
  }
}

function check(raw: TomlTable, source: ConfigSource): Config {
  const result = DOCUMENT.safeParse(raw);
  if (!result.success) {
    throw failure(result.error.issues.flatMap((issue) => describeIssue(issue, raw, source)));
  }
  const problems = contradictions(result.data, source);
  if (problems.length > 0) throw failure(problems);
  return plain(result.data);
}

export function failure(problems: readonly Problem[]): SmfsError {
  const isUsage = problems.every(({ isFlag }) => isFlag);
  // Two issues inside one value read the same.
  const lines = new Set(problems.map(({ place, message }) => `${place}: ${message}`));
  return new SmfsError(isUsage ? "USAGE" : "CONFIG", [...lines].join("\n"));
}

/** What each key allows and the whole does not. */
function contradictions({ store, mirror, status }: Document, source: ConfigSource): Problem[] {
  const problems: Problem[] = [];
  const add = (path: readonly [string, string?], message: string): void => {
    problems.push(source.problem(path, message));
  };
  if (store.path === undefined) {
    add(["store"], 'path is missing: write path = "/srv/smfs/home" in [store], or name the store');
  }
  if (mirror !== undefined) {
    const ends = [mirror.listen, mirror.peer].filter((end) => end !== undefined).length;
    if (ends === 0) add(["mirror"], 'write peer = "host:port" at one site and listen at the other');
    if (ends === 2) add(["mirror", "peer"], "there is listen as well: keep one of the two");
    const wrong = keyProblem(mirror);
    if (wrong !== null) add(["mirror"], wrong);
  }
  if (status.listen !== undefined && !status.allow_remote && !isLoopback(status.listen)) {
    add(
      ["status", "listen"],
      'must be loopback, such as "127.0.0.1:0"; anybody could read the page elsewhere (allow_remote = true)',
    );
  }
  return problems;
}

export function isLoopback(address: string): boolean {
  return /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost):\d+$/.test(address);
}

function plain(document: Document): Config {
  const { store, mount, mirror, status, log } = document;
  return {
    store: {
      path: store.path ?? "",
      segmentBytes: store.segment_size,
      capacityBytes: store.capacity ?? null,
      commitIntervalMicros: store.commit_interval,
      nodeCacheBytes: store.node_cache,
      dirtyLimitBytes: store.dirty_limit,
      garbageShare: store.garbage,
    },
    mount: {
      point: mount.point ?? null,
      allowOther: mount.allow_other,
      floor: mount.floor,
      fsync: mount.fsync,
      dataSync: mount.data_sync,
      osync: mount.osync,
      onUnreachable: mount.on_unreachable,
      timeoutMicros: mount.timeout,
    },
    mirror: mirror === undefined ? null : plainMirror(mirror),
    status: { listen: status.listen ?? null, allowRemote: status.allow_remote },
    log: { level: log.level, file: log.file ?? null },
  };
}

/** What `adapt` means; null: the code stays. */
export function boundsOf(keys: {
  readonly adapt: boolean;
  readonly min_overhead: number;
  readonly max_overhead: number;
}): AdaptationBounds | null {
  const { adapt, min_overhead: minOverhead, max_overhead: maxOverhead } = keys;
  return adapt ? { minOverhead, maxOverhead } : null;
}

function plainMirror(mirror: NonNullable<Document["mirror"]>): MirrorConfig {
  return {
    listen: mirror.listen ?? null,
    peer: mirror.peer ?? null,
    key: keySourceOf(mirror),
    rateBitsPerSecond: mirror.rate,
    targetRisk: mirror.target_risk,
    code: mirror.code,
    adapt: boundsOf(mirror),
    datagramBytes: mirror.datagram,
  };
}
