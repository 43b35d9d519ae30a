/** Offsets, sizes and times as large as an application can say (up to 2^63): each has Linux's answer. */
import { expect, it } from "vitest";
import { ERRNO } from "../../lib/errno.ts";
import { viewOf } from "../../lib/codec.ts";
import * as abi from "../../logfs/export/fuse/abi.ts";
import { FsWorld } from "../fs-world.ts";
import { createBody, Harness, setattrBody, u32, u64, writeBody } from "./fuse-harness.ts";

const { OPCODES, FATTR } = abi;
/** Far past 2^53; as `loff_t` still positive. */
const FAR = 2 ** 62;
const SEEK_DATA = 3;

/** The real file system, with an empty file that is open for writing. */
class OpenFile {
  readonly handle: number;
  private readonly harness = new Harness(new FsWorld().fs);
  private readonly node: number;

  constructor() {
    const { errno, body } = this.harness.ask(
      { opcode: OPCODES.CREATE, uid: 0 },
      ...[u32(0o102), ...createBody("f").slice(1)], // flags: O_RDWR | O_CREAT
    );
    expect(errno).toBe(0);
    this.node = abi.EntryOut.decode(viewOf(body), 0).node;
    this.handle = abi.OpenOut.decode(viewOf(body), abi.EntryOut.size + abi.Attr.size).handle;
  }

  ask(opcode: number, ...body: number[][]) {
    return this.harness.ask({ opcode, uid: 0, node: this.node }, ...body);
  }

  list(offset: number) {
    return this.harness.ask({ opcode: OPCODES.READDIR }, ...readBody(0, offset));
  }
}

/** fuse_read_in */
function readBody(handle: number, offset: number): number[][] {
  return [u64(handle), u64(offset), u32(4096), u32(0), u64(0), u32(0), u32(0)];
}

it("NothingIsWrittenPastTheLargestFile", () => {
  const file = new OpenFile();
  const body = writeBody(file.handle, 0, [1]);
  body[1] = u64(FAR);
  expect(file.ask(OPCODES.WRITE, ...body).errno).toBe(ERRNO.EFBIG);
});

it("NoFileIsMadeLargerThanTheLargest", () => {
  const file = new OpenFile();
  const resized = file.ask(OPCODES.SETATTR, ...setattrBody(FATTR.SIZE, { size: FAR }));
  expect(resized.errno).toBe(ERRNO.EFBIG);
  const range = [u64(file.handle), u64(FAR), u64(FAR), u32(0), u32(0)];
  expect(file.ask(OPCODES.FALLOCATE, ...range).errno).toBe(ERRNO.EFBIG);
});

it("FarBehindTheEndThereIsNothingToReadAndNoData", () => {
  const file = new OpenFile();
  const read = file.ask(OPCODES.READ, ...readBody(file.handle, FAR));
  expect([read.errno, read.body.length]).toEqual([0, 0]);
  const seek = file.ask(OPCODES.LSEEK, u64(file.handle), u64(FAR), u32(SEEK_DATA), u32(0));
  expect(seek.errno).toBe(ERRNO.ENXIO);
});

it("ADirectoryThatIsReadFromFarBehindItsEndIsAtItsEnd", () => {
  const { errno, body } = new OpenFile().list(FAR);
  expect([errno, body.length]).toEqual([0, 0]);
});

it("ATimeThatNoInodeCanHoldIsCutOff", () => {
  const file = new OpenFile();
  const set = file.ask(OPCODES.SETATTR, ...setattrBody(FATTR.MTIME, { mtime: FAR }));
  expect(set.errno).toBe(0);
  const { mtime } = abi.Attr.decode(viewOf(set.body), abi.AttrOut.size);
  expect(mtime).toBe(Number.MAX_SAFE_INTEGER);
});
