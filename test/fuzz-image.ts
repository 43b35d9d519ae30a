/**
 * Fuzzing whole images: a lived-in log is changed in one place, its checksums are made right, and it
 * is opened, read, written to and checked, within bounds of work and memory. One seed, one image and
 * one change: `npm run sim -- fuzz --seed N --runs M`.
 */
import { Prng } from "../lib/prng.ts";
import { KIND } from "../logfs/core/log/format.ts";
import { Exercise, expectRefusal, Misbehaviour, type Tally } from "./fs-exercise.ts";
import { ImageSurgery, mutate, type PlacedRecord } from "./image-surgery.ts";
import { CrashMachine, NotFormatted } from "./sim/crash-machine.ts";
import { SimulatedDisk } from "./sim/disk.ts";
import type { DiskImage } from "./sim/disk-image.ts";
import { liveIn } from "./sim/lived-in.ts";

/** Images are made once for so many seeds: living takes longer than dying. */
const SEEDS_PER_IMAGE = 50;
const OPERATIONS = 40;
/** A whole image read a hundred times over. */
const MOST_READS = 50_000;
/** More than any one buffer needs here; what asks for more believes a length it was told. */
const MOST_BYTES = 2 ** 24;

export interface FuzzOutcome extends Tally {
  /** It did not even open. */
  readonly closed: number;
}

/** A disk whose machine may not read for ever. */
class BoundedDisk extends SimulatedDisk {
  private reads = 0;

  constructor(image: DiskImage) {
    super((_, callback) => queueMicrotask(callback), { reserveBytes: 16_384 }, image);
  }

  override read(...call: Parameters<SimulatedDisk["read"]>): void {
    this.count();
    super.read(...call);
  }

  override readSync(segment: number, offset: number, length: number): Uint8Array {
    this.count();
    return super.readSync(segment, offset, length);
  }

  private count(): void {
    if (++this.reads > MOST_READS) throw new Misbehaviour(`more than ${MOST_READS} reads`);
  }
}

const images = new Map<number, DiskImage>();

/** Throws `Misbehaviour`. */
export async function fuzzImage(seed: number): Promise<FuzzOutcome> {
  const family = Math.floor(seed / SEEDS_PER_IMAGE);
  const pristine = images.get(family) ?? (await liveIn(family, OPERATIONS)).image;
  images.set(family, pristine);
  const prng = new Prng(seed);
  const image = pristine.copy();
  const what = operate(new ImageSurgery(image), prng);
  const guarded = guardBuffers(MOST_BYTES);
  try {
    return await exercise(image, prng);
  } catch (error) {
    throw new Misbehaviour(`${what}: ${String(error)}`, { cause: error });
  } finally {
    guarded.restore();
  }
}

async function exercise(image: DiskImage, prng: Prng): Promise<FuzzOutcome> {
  let machine: CrashMachine;
  try {
    machine = await CrashMachine.open(new BoundedDisk(image), null);
  } catch (error) {
    if (!(error instanceof NotFormatted)) expectRefusal("opening", error);
    return { closed: 1, answered: 0, refused: 0 };
  }
  const session = new Exercise(machine, prng);
  await session.run();
  return { closed: 0, ...session.tally };
}

/** Changes one thing, or a few of a kind, and says what. */
function operate(surgery: ImageSurgery, prng: Prng): string {
  const roll = prng.float();
  if (roll < 0.1 && surgery.swapChildren(prng)) {
    surgery.heal();
    return "a node in the place of another";
  }
  const [kind, part] = partToChange(prng);
  const record = pick(surgery, kind, prng);
  if (record === null) return "nothing";
  const times = prng.pick([1, 1, 1, 2, 5]);
  for (let i = 0; i < times; i++) {
    surgery.changePart(record, part, (bytes) => mutate(bytes, prng));
  }
  surgery.heal();
  return `${part} of record ${record.header.sequence}, kind ${record.header.kind}`;
}

function partToChange(prng: Prng): [kind: number | null, part: "header" | "metadata" | "body"] {
  const roll = prng.float();
  if (roll < 0.35) return [KIND.update, "metadata"];
  if (roll < 0.75) return [KIND.nodes, "body"];
  if (roll < 0.88) return [KIND.checkpoint, "metadata"];
  return [null, prng.pick(["header", "metadata"])];
}

/** Newer records are replayed, older ones mostly dead: the newer the likelier. */
function pick(surgery: ImageSurgery, kind: number | null, prng: Prng): PlacedRecord | null {
  const records = kind === null ? surgery.records : surgery.recordsOf(kind);
  const fromEnd = Math.floor(records.length * prng.float() ** 3);
  return records[records.length - 1 - fromEnd] ?? null;
}

/** Until `restore`, no byte array longer than `mostBytes` can be made. */
function guardBuffers(mostBytes: number): { restore: () => void } {
  const original = globalThis.Uint8Array;
  globalThis.Uint8Array = new Proxy(original, {
    construct(target, args: ConstructorParameters<Uint8ArrayConstructor>, newTarget) {
      const [length] = args as unknown[];
      if (typeof length === "number" && length > mostBytes) {
        throw new Misbehaviour(`a buffer of ${length} bytes was asked for`);
      }
      return Reflect.construct(target, args, newTarget) as object;
    },
  });
  return {
    restore: () => {
      globalThis.Uint8Array = original;
    },
  };
}
