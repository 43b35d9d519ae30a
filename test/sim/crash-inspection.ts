/**
 * A look at what a crash left: it is opened, read from end to end and checked by fsck. Most cuts of a
 * life leave one of few images (between two writes nothing changes), so what one shows is remembered;
 * only the comparison with what was promised is made each time.
 */
import { CrashMachine, diskOf, NotFormatted } from "./crash-machine.ts";
import { linesOfMachine } from "./crash-workload.ts";
import type { DiskImage } from "./disk-image.ts";

/** What a crash must not leave. */
export class CrashViolation extends Error {
  override name = "CrashViolation";
}

export interface Inspection {
  /** The newest record. */
  readonly foundSequence: number;
  /** As `linesOfMachine`, in order. */
  readonly lines: readonly string[];
  /** As the volume's counter says. */
  readonly inodes: number;
}

/** The images remembered at once; a life has some hundred. */
const MAX_REMEMBERED = 1000;

export class Inspector {
  /** null: there is no file system yet. */
  private readonly known = new Map<string, Inspection | null>();
  /** Images that were really opened. */
  opened = 0;

  /** The image is opened, and so changed. Rejects with `CrashViolation`. */
  async inspect(image: DiskImage): Promise<Inspection | null> {
    const fingerprint = image.fingerprint();
    const before = this.known.get(fingerprint);
    if (before !== undefined) return before;
    const inspection = await this.look(image);
    if (this.known.size === MAX_REMEMBERED) this.known.clear();
    this.known.set(fingerprint, inspection);
    return inspection;
  }

  private async look(image: DiskImage): Promise<Inspection | null> {
    this.opened++;
    const machine = await open(image);
    if (machine === null) return null;
    const lines = (await linesOfMachine(machine)).toSorted();
    const findings = await machine.findings();
    if (findings.length > 0) throw new CrashViolation(`fsck: ${findings.join("; ")}`);
    const { inodes } = machine.used();
    return { foundSequence: machine.foundSequence, lines, inodes };
  }
}

async function open(image: DiskImage): Promise<CrashMachine | null> {
  try {
    return await CrashMachine.open(diskOf(null, image), null);
  } catch (error) {
    if (error instanceof NotFormatted) return null;
    throw new CrashViolation(`does not open: ${String(error)}`, { cause: error });
  }
}
