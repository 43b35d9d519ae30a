/** Requests of protocol 7.28 and later, as the kernel lays them out (include/uapi/linux/fuse.h). */
import { describe, expect, it } from "vitest";
import { viewOf } from "../../lib/codec.ts";
import { ERRNO } from "../../lib/errno.ts";
import { NullFs } from "../../bench/nullfs.ts";
import type { Attributes, FilePosition, MaybePromise } from "../../logfs/core/vfs.ts";
import * as abi from "../../logfs/export/fuse/abi.ts";
import { createBody, Harness, request, text, u32, u64 } from "./fuse-harness.ts";

const { OPCODES } = abi;
const O_TMPFILE_RDWR = 0o20200002;

/** fuse_create_in and a name that is none: what vfs_tmpfile's dentry is called. */
const tmpfileBody = (flags: number): number[][] => [
  u32(flags), // flags
  u32(0o100640), // mode
  u32(0o022), // umask
  u32(0), // open_flags
  text("/"),
];

const copyBody = (length: number, flags = 0): number[][] => [
  u64(7), // fh_in
  u64(4096), // off_in
  u64(3), // nodeid_out
  u64(8), // fh_out
  u64(100), // off_out
  u64(length), // len
  u64(flags), // flags
];

class NotingFs extends NullFs {
  readonly calls: unknown[] = [];
  override copyRange(from: FilePosition, to: FilePosition, length: number): MaybePromise<number> {
    this.calls.push([from, to, length]);
    return 5000;
  }
  override fsync(inode: number, what: "data" | "full"): MaybePromise<void> {
    this.calls.push([inode, what]);
  }
  override createUnnamed(...args: Parameters<NullFs["createUnnamed"]>) {
    this.calls.push([args[1], args[2], args[3], args[4].write]);
    return super.createUnnamed(...args);
  }
  override getattr(inode: number): MaybePromise<Attributes> {
    const known = super.getattr(inode) as Attributes;
    const born = { seconds: -5, nanoseconds: 250 };
    return { ...known, mode: 0o20644, device: 0x12a_bc45, links: 3, size: 2 ** 40, born };
  }
}

describe("newer requests", () => {
  it("ATemporaryFileIsMadeWithoutANameAndHeld", () => {
    const vfs = new NotingFs();
    const harness = new Harness(vfs);
    const { errno, body } = harness.ask(
      { opcode: OPCODES.TMPFILE },
      ...tmpfileBody(O_TMPFILE_RDWR),
    );
    expect(errno).toBe(0);
    const { node } = abi.EntryOut.decode(viewOf(body), 0);
    expect(abi.Attr.decode(viewOf(body), abi.EntryOut.size)).toMatchObject({
      inode: node,
      links: 0,
      mode: 0o100640,
    });
    const exclusive = tmpfileBody(O_TMPFILE_RDWR | abi.O_EXCL);
    harness.ask({ opcode: OPCODES.TMPFILE }, ...exclusive);
    expect(vfs.calls).toEqual([
      [1, 0o100640, "possible", true],
      [1, 0o100640, "never", true],
    ]);
  });

  it("AnUnwantedTemporaryFileIsGivenBack", () => {
    const released: number[] = [];
    class Releasing extends NullFs {
      override release(handle: number): MaybePromise<void> {
        released.push(handle);
        return super.release(handle);
      }
    }
    const harness = new Harness(new Releasing());
    harness.wanted = false;
    void harness.tell({ opcode: OPCODES.TMPFILE }, ...tmpfileBody(O_TMPFILE_RDWR));
    expect(released).toHaveLength(1);
  });

  it("StatxSaysWhenAFileWasMadeAndWhichDeviceItIs", () => {
    const harness = new Harness(new NotingFs());
    const { errno, body } = harness.ask(
      { opcode: OPCODES.STATX },
      u32(0), // getattr_flags
      u32(0), // reserved
      u64(0), // fh
      u32(0), // sx_flags
      u32(0xfff), // sx_mask
    );
    expect([errno, body.length]).toEqual([0, 288]);
    const view = viewOf(body);
    const statx = 32; // fuse_statx_out.stat
    expect(view.getUint32(statx, true)).toBe(0xfff); // mask, with STATX_BTIME
    expect(view.getUint32(statx + 16, true)).toBe(3); // nlink
    expect(view.getUint16(statx + 28, true)).toBe(0o20644); // mode
    expect(view.getBigUint64(statx + 40, true)).toBe(2n ** 40n); // size
    expect(view.getBigInt64(statx + 80, true)).toBe(-5n); // btime.tv_sec
    expect(view.getUint32(statx + 88, true)).toBe(250); // btime.tv_nsec
    expect(view.getUint32(statx + 128, true)).toBe(0xabc); // rdev_major
    expect(view.getUint32(statx + 132, true)).toBe(0x1245); // rdev_minor
  });

  it("ACopyNamesBothFilesAndSaysHowFarItCame", () => {
    const vfs = new NotingFs();
    const harness = new Harness(vfs);
    const short = harness.ask({ opcode: OPCODES.COPY_FILE_RANGE }, ...copyBody(9000));
    const long = harness.ask({ opcode: OPCODES.COPY_FILE_RANGE_64 }, ...copyBody(2 ** 40));
    expect([...short.body]).toEqual([...u32(5000), ...u32(0)]); // size, padding
    expect([...long.body]).toEqual(u64(5000)); // bytes_copied
    const ends = [
      { handle: 7, offset: 4096 },
      { handle: 8, offset: 100 },
    ] as const;
    expect(vfs.calls).toEqual([
      [...ends, 9000],
      [...ends, 2 ** 31],
    ]);
    const flagged = harness.ask({ opcode: OPCODES.COPY_FILE_RANGE }, ...copyBody(1, 1));
    expect(flagged.errno).toBe(ERRNO.EINVAL);
  });

  it("SyncfsSyncsEverythingAndIoctlIsNotThere", () => {
    const vfs = new NotingFs();
    const harness = new Harness(vfs);
    expect(harness.ask({ opcode: OPCODES.SYNCFS }, u64(0)).errno).toBe(0);
    expect(vfs.calls).toEqual([[1, "full"]]);
    const ioctl = [u64(1), u32(0), u32(0x8008_6601), u64(0), u32(0), u32(8)];
    expect(harness.ask({ opcode: OPCODES.IOCTL }, ...ioctl).errno).toBe(ERRNO.ENOTTY);
  });

  it("ForgetsOfOneBatchGoOneByOneAndAShortBatchIsNotBelieved", () => {
    const dropped: number[] = [];
    class Dropping extends NullFs {
      override drop(inode: number): MaybePromise<void> {
        dropped.push(inode);
      }
    }
    const harness = new Harness(new Dropping());
    const nodes = ["a", "b", "c"].map((name) => {
      const { body } = harness.ask({ opcode: OPCODES.CREATE }, ...createBody(name));
      return abi.EntryOut.decode(viewOf(body), 0).node;
    });
    const batch = nodes.flatMap((node) => [u64(node), u64(1)]);
    void harness.tell({ opcode: OPCODES.BATCH_FORGET }, u32(4), u32(0), ...batch);
    expect(dropped).toEqual(nodes);
    expect(harness.session.statistics.malformedRequests).toBe(1);
    expect(harness.answers).toHaveLength(3);
  });

  it("WhatNoKernelSendsIsAnsweredToo", () => {
    const harness = new Harness();
    expect(harness.feed(request({ opcode: 4095 })).errno).toBe(ERRNO.ENOSYS);
    expect(harness.session.statistics.unknownRequests).toBe(1);
  });
});
