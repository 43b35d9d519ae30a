/**
 * Open segment files: `00000001.seg` and on in one directory. About `MAX_OPEN` descriptors are held.
 * One with a call under way is closed when the call is back: the kernel may give its number to
 * another file at once, and the call would go there.
 */
import { closeSync, constants, openSync } from "node:fs";
import { join } from "node:path";

const MAX_OPEN = 64;
const NAME = /^(\d{8,10})\.seg$/;

export interface OpenFile {
  readonly fd: number;
  /** Calls under way. */
  users: number;
  /** Nobody uses it again; it goes with its last call. */
  closing: boolean;
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
    const file = known ?? newFile(openSync(segmentPath(this.directory, segment), this.flags));
    this.files.set(segment, file);
    this.evict(segment);
    return file;
  }

  add(segment: number, fd: number): void {
    this.files.set(segment, newFile(fd));
    this.evict(segment);
  }

  /** A call on the file is back. */
  release(file: OpenFile): void {
    file.users--;
    if (file.closing && file.users === 0) closeSync(file.fd);
  }

  close(segment: number): void {
    const file = this.files.get(segment);
    if (file === undefined) return;
    this.files.delete(segment);
    if (file.users === 0) closeSync(file.fd);
    else file.closing = true;
  }

  closeAll(): void {
    for (const segment of [...this.files.keys()]) this.close(segment);
  }

  private evict(kept: number): void {
    if (this.files.size <= MAX_OPEN) return;
    for (const segment of this.files.keys()) {
      if (segment !== kept) return this.close(segment);
    }
  }
}

function newFile(fd: number): OpenFile {
  return { fd, users: 0, closing: false };
}
