/**
 * Damage to a disk that nobody noticed yet: a bit that flipped, a sector that cannot be read. Whatever
 * it hits, what a file system shows is right or refused with EIO and a place, the rest is served, fsck
 * says what is hit, and nothing acknowledged is gone without a word.
 */
import { SmfsError } from "../../lib/errors.ts";
import { lineOfQuota, linesOf, of, type Refusal, type State, surveyOf } from "./crash-history.ts";
import { CrashMachine, diskOf } from "./crash-machine.ts";
import type { SimulatedDisk } from "./disk.ts";
import type { LivedIn } from "./lived-in.ts";

export type Damage =
  | {
      readonly kind: "bit";
      readonly segment: number;
      readonly offset: number;
      readonly bit: number;
    }
  | { readonly kind: "sector"; readonly segment: number; readonly offset: number };

/** What it came to. */
export type Outcome = "unnoticed" | "refused" | "not opened" | "tail cut";

class DamageViolation extends Error {
  override name = "DamageViolation";
}

/** A message names the place as `segment 3 offset 4711` or `3:4711`. */
const PLACE = /segment \d+|\b\d+:\d+/;
const TELLING = new Set(["DAMAGED", "IO", "SHORT", "NOT_FOUND"]);

/** Throws when damage shows as anything but a refusal. */
export async function suffer(whole: LivedIn, damage: Damage): Promise<Outcome> {
  const disk = diskOf(null, whole.image.copy());
  inflict(disk, damage);
  let machine: CrashMachine;
  try {
    machine = await CrashMachine.open(disk, null);
  } catch (error) {
    expectTelling("opening", error);
    return "not opened";
  }
  const states = statesAt(whole, machine.foundSequence);
  const isWhole = machine.foundSequence >= (whole.history.states.at(-1)?.sequence ?? 0);
  const refusals = await expectRightOrRefused(machine, states);
  await expectFsckKnows(machine, refusals);
  await expectGoesOn(machine);
  if (refusals.length > 0) return "refused";
  return isWhole ? "unnoticed" : "tail cut";
}

function inflict(disk: SimulatedDisk, damage: Damage): void {
  const { segment, offset } = damage;
  if (damage.kind === "bit") disk.flipBit(segment, offset, damage.bit);
  else disk.makeUnreadable(segment, offset);
}

/** Only the last records, for which none vouches, look like a tail that a crash tore. */
function statesAt({ history, vouchedSequence }: LivedIn, found: number): string[][] {
  if (found < vouchedSequence) throw new DamageViolation(`record ${found + 1} was vouched for`);
  return history.indexesAt(found).map((index) => linesOf((history.states[index] as State).model));
}

async function expectRightOrRefused(
  machine: CrashMachine,
  states: readonly string[][],
): Promise<Refusal[]> {
  const seen = await surveyOf(machine.fs);
  const lines = [...seen.lines, lineOfQuota(machine.quota)];
  const refusals = [...seen.refusals];
  for (const [name, fs] of machine.snapshots()) {
    const kept = await surveyOf(fs);
    lines.push(...of(name, kept.lines));
    for (const one of kept.refusals) refusals.push({ ...one, path: `@${name}${one.path}` });
  }
  for (const { path, error } of refusals) expectTelling(path, error);
  const flaws = states.map((expected) => flawOf(expected, lines, refusals));
  if (flaws.every((flaw) => flaw !== null)) throw new DamageViolation(flaws.join("; or "));
  return refusals;
}

/** null: everything that is shown is right, and what is not shown was refused. */
function flawOf(
  expected: readonly string[],
  lines: readonly string[],
  refusals: readonly Refusal[],
): string | null {
  const wrong = lines.filter((line) => !expected.includes(line));
  if (wrong.length > 0) return `shows ${wrong.join(" | ")}`;
  const shown = new Set(lines);
  const gone = expected.filter((line) => !shown.has(line) && !isExplained(line, refusals));
  return gone.length > 0 ? `${gone.join(" | ")} is gone without a word` : null;
}

/** What was refused, and what stands below a directory that was. */
function isExplained(line: string, refusals: readonly Refusal[]): boolean {
  const [path = ""] = line.split(" ");
  return refusals.some((one) => path === one.path || path.startsWith(`${one.path}/`));
}

async function expectFsckKnows(machine: CrashMachine, refusals: readonly Refusal[]): Promise<void> {
  const findings = await machine.findings();
  if (refusals.length > 0 && findings.length === 0) {
    const paths = refusals.map(({ path, error }) => `${path} (${String(error)})`);
    throw new DamageViolation(`fsck finds nothing about ${paths.join(", ")}`);
  }
  if (findings.some((text) => !text.startsWith("inode null") && text !== "incomplete")) return;
  if (findings.includes("incomplete") || refusals.length === 0) return;
  throw new DamageViolation(`fsck names no inode: ${findings.join("; ")}`);
}

/** A new file is made, or refused for the damage. */
async function expectGoesOn(machine: CrashMachine): Promise<void> {
  const root = { uid: 0, gid: 0, groups: () => [] };
  const options = { read: true, write: true, append: false, truncate: false };
  const name = new Uint8Array([110, 101, 119]);
  try {
    const made = await machine.fs.create(root, 1, name, 0o644, true, options);
    await machine.fs.write(made.handle, 0, new Uint8Array(100), "none");
    await machine.fs.release(made.handle);
    await machine.whenDurable();
  } catch (error) {
    expectTelling("a new file", error);
  }
}

function expectTelling(what: string, error: unknown): void {
  const isTelling =
    error instanceof SmfsError && TELLING.has(error.code) && PLACE.test(error.message);
  if (isTelling) return;
  throw new DamageViolation(`${what}: ${String(error)}`, { cause: error });
}
