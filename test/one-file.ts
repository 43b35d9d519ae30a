/** A file system with one file, open for reading and writing. */
import { concatBytes } from "../lib/bytes.ts";
import { visitExtents } from "../logfs/core/fs/extents.ts";
import { FILE_SIZE_MAX } from "../logfs/core/fs/truncation.ts";
import { expect } from "vitest";
import { FsWorld, name, READ_WRITE, ROOT } from "./fs-world.ts";

export class OneFile {
  readonly world: FsWorld;
  handle = 0;
  inode = 0;

  constructor(world = new FsWorld()) {
    this.world = world;
  }

  static async make(world?: FsWorld): Promise<OneFile> {
    const file = new OneFile(world);
    const { fs } = file.world;
    const made = await file.world.run(fs.create(ROOT, 1, name("f"), 0o644, true, READ_WRITE));
    file.handle = made.handle;
    file.inode = made.attributes.inode;
    return file;
  }

  get fs() {
    return this.world.fs;
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    expect(await this.world.run(this.fs.write(this.handle, offset, data, "none"))).toBe(
      data.length,
    );
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    return concatBytes(await this.world.run(this.fs.read(this.handle, offset, length)));
  }

  attributes() {
    return this.world.run(this.fs.getattr(this.inode));
  }

  truncate(size: number) {
    return this.world.run(this.fs.setattr(ROOT, this.inode, { size }));
  }

  fallocate(offset: number, length: number, mode: number) {
    return this.world.run(this.fs.fallocate(this.handle, offset, length, mode));
  }

  async extents(): Promise<{ start: number; length: number; skip: number }[]> {
    const found: { start: number; length: number; skip: number }[] = [];
    await this.world.run(
      this.world.volume.view((view) => {
        found.length = 0;
        visitExtents(view, this.inode, 0, FILE_SIZE_MAX, ({ start, length, skip }) => {
          found.push({ start, length, skip });
          return true;
        });
      }),
    );
    return found;
  }

  async reopen(): Promise<void> {
    await this.world.remount();
    this.handle = await this.world.run(this.fs.open(ROOT, this.inode, READ_WRITE));
  }
}
