/**
 * Open segment files: `00000001.seg` and on in one directory. At most `MAX_OPEN` descriptors are
 * held; one with a call under way is never closed.
 */
import { closeSync, constants, openSync } from "node:fs";
import { join } from "node:path";

const MAX_OPEN = 64;
const NAME = /^(\d{8,10})\.seg$/;

export interface OpenFile {
  readonly fd: number;
  /** Calls under way. */
  users: number;
}

export function segmentPath(directory: string, segment: number): string {
  return join(directory, `${String(segment).padStart(8, "0")}.seg`);
}

/** null for a file that is no segment. */
export function segmentOfName(name: string): number | null {
  const digits = NAME.exec(name)?.[1];
  return digits === undefined ? null : Number(digits);
}

export class OpenFiles {
  /** In order of last use. */
  private readonly files = new Map<number, OpenFile>();
  private readonly directory: string;
  private readonly flags: number;

  constructor(directory: string, access: { readonly readOnly: boolean }) {
    this.directory = directory;
    this.flags = access.readOnly ? constants.O_RDONLY : constants.O_RDWR;
  }

  get(segment: number): OpenFile {
    const known = this.files.get(segment);
    this.files.delete(segment);
    const file = known ?? {
      fd: openSync(segmentPath(this.directory, segment), this.flags),
      users: 0,
    };
    this.files.set(segment, file);
    this.evict();
    return file;
  }

  add(segment: number, fd: number): void {
    this.files.set(segment, { fd, users: 0 });
    this.evict();
  }

  close(segment: number): void {
    const file = this.files.get(segment);
    if (file === undefined) return;
    this.files.delete(segment);
    closeSync(file.fd);
  }

  closeAll(): void {
    for (const segment of [...this.files.keys()]) this.close(segment);
  }

  get busy(): boolean {
    for (const file of this.files.values()) if (file.users > 0) return true;
    return false;
  }

  private evict(): void {
    if (this.files.size <= MAX_OPEN) return;
    const newest = [...this.files.keys()].at(-1);
    for (const [segment, file] of this.files) {
      if (file.users > 0 || segment === newest) continue;
      this.close(segment);
      return;
    }
  }
}
