/**
 * What a suite is: checks on a mounted store, each passed, failed or excluded for a reason that
 * stands in `exclusions/`. A check that passes although it is excluded fails the suite: the list
 * must not outlive its reasons.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Missing } from "./command.ts";
import { inCheckout } from "./paths.ts";
import { MountedStore, type StoreOptions } from "./mounted-store.ts";

export interface SuiteOptions {
  /** A checkout, or a directory with checkouts named as their projects; undefined: not given. */
  readonly source: string | undefined;
  readonly seed: number;
  /** How much, in the suite's own unit; undefined: its default. */
  readonly count: number | undefined;
  readonly scratch: string | undefined;
  readonly mountFlags: readonly string[];
  readonly log: (line: string) => void;
}

export interface Suite {
  /** One line, with the unit of `--count` when it has one. */
  readonly about: string;
  run(checks: Checks, options: SuiteOptions): Promise<void>;
}

export class Checks {
  passed = 0;
  failed = 0;
  excluded = 0;
  private readonly exclusions: ReadonlyMap<string, string>;
  private readonly log: (line: string) => void;

  constructor(exclusions: ReadonlyMap<string, string>, log: (line: string) => void) {
    this.exclusions = exclusions;
    this.log = log;
  }

  /** Runs one check; what it throws is its failure. Anything missing ends the suite. */
  async check(name: string, body: () => Promise<unknown>): Promise<boolean> {
    try {
      await body();
      this.note(name, "passed");
      return true;
    } catch (error) {
      if (error instanceof Missing) throw error;
      this.note(name, "failed", error instanceof Error ? error.message : String(error));
      return false;
    }
  }

  /** A result that a program of the suite has found. */
  note(name: string, result: "passed" | "failed", why = ""): void {
    const reason = this.exclusions.get(name);
    if (reason === undefined) {
      this[result]++;
      if (result === "failed") this.log(`FAILED ${name}: ${why}`);
    } else if (result === "failed") {
      this.excluded++;
      this.log(`excluded ${name}: ${reason}`);
    } else {
      this.failed++;
      this.log(`FAILED ${name}: passes, and stands in the list of exclusions`);
    }
  }

  /** Passed, without a line for each. */
  notePassed(count: number): void {
    this.passed += count;
  }
}

/** A fresh store for `body`; afterwards it must unmount in order and be whole. */
export async function withStore(
  checks: Checks,
  options: SuiteOptions,
  body: (store: MountedStore) => Promise<void>,
  wanted: StoreOptions = {},
): Promise<void> {
  const mountFlags = [...(wanted.mountFlags ?? []), ...options.mountFlags];
  const scratch = options.scratch === undefined ? {} : { scratch: options.scratch };
  const store = await MountedStore.make({ ...wanted, ...scratch, mountFlags });
  try {
    await body(store);
    await checks.check("unmount", () => store.unmount());
    await checks.check("fsck --deep", () => store.check());
  } finally {
    await store.close();
  }
}

/** `name: reason` a line; lines that begin with # are comments. */
export function readExclusions(suite: string): Map<string, string> {
  const path = inCheckout(`test/conformance/exclusions/${suite}.txt`);
  if (!existsSync(path)) return new Map();
  const lines = readFileSync(path, "utf8").split("\n");
  return new Map(
    lines.filter((line) => line.includes(": ") && !line.startsWith("#")).map(splitExclusion),
  );
}

function splitExclusion(line: string): [string, string] {
  const at = line.indexOf(": ");
  return [line.slice(0, at), line.slice(at + 2)];
}

/**
 * The checkout of a project that the user has: `--source`, or the directory of that name in it.
 * `marker` is a file that only such a checkout has.
 */
export function checkoutOf(project: string, marker: string, { source }: SuiteOptions): string {
  const found = [source, source === undefined ? undefined : join(source, project)].find(
    (path) => path !== undefined && existsSync(join(path, marker)),
  );
  if (found !== undefined) return found;
  throw new Missing(
    `needs --source DIR with a checkout of ${project} that is built (no ${marker})`,
  );
}
