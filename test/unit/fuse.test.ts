import { describe, expect, it } from "vitest";
import { toHex, latin1 } from "../../lib/bytes.ts";
import { ERRNO } from "../../lib/errno.ts";
import { viewOf } from "../../lib/codec.ts";
import { NullFs } from "../../bench/nullfs.ts";
import type { SyncRequest } from "../../logfs/core/vfs.ts";
import * as abi from "../../logfs/export/fuse/abi.ts";
import { FOLLOWER } from "../../logfs/export/fuse/serve.ts";
import {
  createBody,
  Harness,
  initBody,
  request,
  setattrBody,
  text,
  u32,
  u64,
  writeBody,
} from "./fuse-harness.ts";

const { OPCODES } = abi;
function create(harness: Harness, name: string): { inode: number; handle: number } {
  const { errno, body } = harness.ask({ opcode: OPCODES.CREATE }, ...createBody(name));
  expect(errno).toBe(0);
  const { node } = abi.EntryOut.decode(viewOf(body), 0);
  return { inode: node, handle: abi.OpenOut.decode(viewOf(body), 128).handle };
}

describe("INIT", () => {
  it("AgreesOnTheOlderMinorAndOnMegabyteRequests", () => {
    const { errno, body } = new Harness().ask({ opcode: OPCODES.INIT }, ...initBody(7, 38));
    expect(errno).toBe(0);
    expect(toHex(body)).toBe(
      "07000000" + // major
        "26000000" + // minor 38
        "00001000" + // max_readahead 1 MiB
        "39e0c413" + // flags
        "4000" + // max_background 64
        "3000" + // congestion_threshold 48
        "00001000" + // max_write 1 MiB
        "01000000" + // time_gran 1 ns
        "0001" + // max_pages 256
        "0000" + // map_alignment
        "00000000" + // flags2
        "00".repeat(28), // unused
    );
  });

  it("NeverTakesTheWritebackCacheOrTheLocksThatAKernelOffers", () => {
    const harness = new Harness();
    harness.ask({ opcode: OPCODES.INIT }, ...initBody(7, 45, 0x7fffffff));
    const writeback = 1 << 16;
    const locks = (1 << 1) | (1 << 10);
    expect(harness.session.connection.flags & (writeback | locks)).toBe(0);
    expect(harness.session.connection.minor).toBe(45);
  });

  it("TakesNoFlagThatIsNotOffered", () => {
    const harness = new Harness();
    harness.ask({ opcode: OPCODES.INIT }, ...initBody(7, 31, 1 << 5));
    expect(harness.session.connection.flags).toBe(1 << 5);
  });

  it("RefusesAKernelBefore7_31", () => {
    const { errno } = new Harness().ask({ opcode: OPCODES.INIT }, ...initBody(7, 30));
    expect(errno).toBe(ERRNO.EPROTO);
  });

  it("AFollowersPagesAreCheckedAndASoleWritersKept", () => {
    const [kept, checked] = [new Harness(), new Harness(new NullFs(), FOLLOWER)].map((harness) => {
      harness.ask({ opcode: OPCODES.INIT }, ...initBody(7, 45));
      return harness.session.connection.flags;
    });
    const { AUTO_INVAL_DATA, EXPLICIT_INVAL_DATA } = abi.INIT_FLAGS;
    expect((kept as number) & (AUTO_INVAL_DATA | EXPLICIT_INVAL_DATA)).toBe(EXPLICIT_INVAL_DATA);
    expect((checked as number) & (AUTO_INVAL_DATA | EXPLICIT_INVAL_DATA)).toBe(AUTO_INVAL_DATA);
  });
});

describe("names", () => {
  it("AMissingNameMayBeCachedByASoleWriterAndNotByAFollower", () => {
    const cached = new Harness().ask({ opcode: OPCODES.LOOKUP }, text("no"));
    expect(cached.errno).toBe(0);
    const head = abi.EntryOut.decode(viewOf(cached.body), 0);
    expect(head).toMatchObject({ node: 0, entryValidSeconds: 60 });
    const asked = new Harness(new NullFs(), FOLLOWER).ask({ opcode: OPCODES.LOOKUP }, text("no"));
    expect(asked.errno).toBe(ERRNO.ENOENT);
  });

  it("ACreatedFileIsFoundWithItsModeAndOwner", () => {
    const harness = new Harness();
    const { inode } = create(harness, "file");
    const { body } = harness.ask({ opcode: OPCODES.LOOKUP }, text("file"));
    const attributes = abi.Attr.decode(viewOf(body), abi.EntryOut.size);
    expect(attributes).toMatchObject({ inode, mode: 0o100644, uid: 1000, gid: 1000 });
  });

  it.each([
    ["without an end", [...Buffer.from("name")], ERRNO.EINVAL],
    ["that is empty", [0], ERRNO.EINVAL],
    ["with a slash", text("a/b"), ERRNO.EINVAL],
    ["of 256 bytes", text("x".repeat(256)), ERRNO.ENAMETOOLONG],
  ])("AName %s IsRefused", (_what, name, errno) => {
    const harness = new Harness();
    expect(harness.ask({ opcode: OPCODES.MKDIR }, u32(0o755), u32(0), name).errno).toBe(errno);
    expect(harness.session.statistics.failures).toBe(0);
  });

  it("TheCallersSupplementaryGroupsAreThoseOfItsThread", () => {
    const seen: (readonly number[])[] = [];
    class Asking extends NullFs {
      override lookup(...[caller, parent, name]: Parameters<NullFs["lookup"]>) {
        seen.push(caller.groups());
        return super.lookup(caller, parent, name);
      }
    }
    const harness = new Harness(new Asking());
    harness.ask({ opcode: OPCODES.LOOKUP, pid: 123 }, text("x"));
    harness.ask({ opcode: OPCODES.LOOKUP, pid: 0 }, text("x"));
    expect(seen).toEqual([[123, 5], []]);
  });
});

describe("writes", () => {
  class Recording extends NullFs {
    readonly syncs: SyncRequest[] = [];
    readonly fsyncs: string[] = [];
    override write(...args: Parameters<NullFs["write"]>) {
      this.syncs.push(args[3]);
      return super.write(...args);
    }
    override fsync(_inode: number, what: "data" | "full") {
      this.fsyncs.push(what);
    }
  }

  it.each([
    ["plain", 0, "none"],
    ["O_DSYNC", 0o10000, "data"],
    ["O_SYNC, which contains O_DSYNC,", 0o4010000, "full"],
    ["O_APPEND|O_SYNC", 0o4012000, "full"],
  ])("A %s WriteAsksFor its level", (_name, flags, expected) => {
    const vfs = new Recording();
    const harness = new Harness(vfs);
    const { inode, handle } = create(harness, "f");
    const opcode = OPCODES.WRITE;
    const { body } = harness.ask({ opcode, node: inode }, ...writeBody(handle, flags, [1, 2, 3]));
    expect(abi.WriteOut.decode(viewOf(body), 0).size).toBe(3);
    expect(vfs.syncs).toEqual([expected]);
  });

  it("FdatasyncIsDataAndFsyncOfFileAndDirectoryIsFull", () => {
    const vfs = new Recording();
    const harness = new Harness(vfs);
    for (const [opcode, flags] of [
      [OPCODES.FSYNC, 1],
      [OPCODES.FSYNC, 0],
      [OPCODES.FSYNCDIR, 0],
    ] as const) {
      expect(harness.ask({ opcode }, u64(1), u32(flags), u32(0)).errno).toBe(0);
    }
    expect(vfs.fsyncs).toEqual(["data", "full", "full"]);
  });

  it("ASizePastTheDataIsRefused", () => {
    const harness = new Harness();
    const { handle } = create(harness, "f");
    const body = writeBody(handle, 0, [1, 2, 3]);
    body[2] = u32(4);
    expect(harness.ask({ opcode: OPCODES.WRITE }, ...body).errno).toBe(ERRNO.EINVAL);
  });
});

function attributesOf(harness: Harness, node: number) {
  const body = [u32(0), u32(0), u64(0)]; // getattr_flags, dummy, fh
  const answer = harness.ask({ opcode: OPCODES.GETATTR, node }, ...body);
  return abi.Attr.decode(viewOf(answer.body), abi.AttrOut.size);
}

describe("attributes", () => {
  it("TimesKeepNanosecondsAndGoBefore1970", () => {
    const harness = new Harness();
    const { inode } = create(harness, "f");
    const body = setattrBody(abi.FATTR.MTIME, { mtime: -2 });
    harness.ask({ opcode: OPCODES.SETATTR, node: inode }, ...body);
    expect(attributesOf(harness, inode)).toMatchObject({ mtime: -2, mtimeNanos: 999_999_999 });
  });
});

describe("directories", () => {
  const names = (body: Uint8Array, perEntry: number): { name: string; offset: number }[] => {
    const found = [];
    for (let at = 0; at < body.length; ) {
      const { offset, nameLength } = abi.Dirent.decode(viewOf(body), at + perEntry);
      const start = at + perEntry + abi.Dirent.size;
      found.push({
        name: Buffer.from(body.subarray(start, start + nameLength)).toString(),
        offset,
      });
      at = Math.ceil((start + nameLength) / 8) * 8;
    }
    return found;
  };
  const listBody = (offset: number, size: number) => [
    u64(0), // fh
    u64(offset), // offset
    u32(size), // size
    u32(0), // read_flags
    u64(0), // lock_owner
    u32(0), // flags
    u32(0), // padding
  ];

  it.each([
    ["READDIR", OPCODES.READDIR, 0],
    ["READDIRPLUS", OPCODES.READDIRPLUS, 128],
  ])("%s ListsEverythingOnceHoweverSmallTheRoom", (_name, opcode, perEntry) => {
    const harness = new Harness();
    const made = Array.from({ length: 20 }, (_, i) => `name-${"x".repeat(i)}`);
    for (const name of made) create(harness, name);
    const seen: string[] = [];
    for (let offset = 0; ; ) {
      const { body } = harness.ask({ opcode }, ...listBody(offset, perEntry + 80));
      expect(body.length).toBeLessThanOrEqual(perEntry + 80);
      const listed = names(body, perEntry);
      if (listed.length === 0) break;
      seen.push(...listed.map((entry) => entry.name));
      offset = (listed.at(-1) as { offset: number }).offset;
    }
    expect(seen).toEqual([".", "..", ...made]);
  });

  it("AnOpendirIsAnsweredSoThatTheKernelAsksNoMore", () => {
    const harness = new Harness();
    const { errno } = harness.ask({ opcode: OPCODES.OPENDIR }, u32(0), u32(0));
    expect(errno).toBe(ERRNO.ENOSYS);
  });
});

describe("extended attributes", () => {
  class WithXattr extends NullFs {
    override getxattr() {
      return latin1("value");
    }
    override listxattr() {
      return [latin1("user.a"), latin1("user.b")];
    }
  }
  const get = (size: number, name: string) =>
    new Harness(new WithXattr()).ask(
      { opcode: OPCODES.GETXATTR },
      u32(size), // size
      u32(0), // padding
      text(name),
    );

  it("SizeZeroAsksForTheLengthAndTooLittleRoomIsERANGE", () => {
    expect(get(0, "user.x").body).toEqual(Uint8Array.from([5, 0, 0, 0, 0, 0, 0, 0]));
    expect(get(4, "user.x").errno).toBe(ERRNO.ERANGE);
    expect(get(5, "user.x").body).toEqual(latin1("value"));
  });

  it("AccessControlListsAreNotPretendedTo", () => {
    expect(get(0, "system.posix_acl_access").errno).toBe(ERRNO.EOPNOTSUPP);
  });

  it("AListEndsEachNameWithNul", () => {
    const harness = new Harness(new WithXattr());
    const { body } = harness.ask({ opcode: OPCODES.LISTXATTR }, u32(100), u32(0));
    expect(Buffer.from(body).toString()).toBe("user.a\0user.b\0");
  });
});

describe("lookup counts", () => {
  class Holding extends NullFs {
    readonly held: string[] = [];
    override hold(inode: number) {
      this.held.push(`hold ${inode}`);
    }
    override drop(inode: number) {
      this.held.push(`drop ${inode}`);
    }
  }

  it("AnInodeIsHeldOnceAndDroppedWhenAllItsLookupsAreForgotten", () => {
    const vfs = new Holding();
    const harness = new Harness(vfs);
    const { inode } = create(harness, "f");
    harness.ask({ opcode: OPCODES.LOOKUP }, text("f"));
    expect(vfs.held).toEqual([`hold ${inode}`]);
    void harness.tell({ opcode: OPCODES.FORGET, node: inode }, u64(1));
    expect(vfs.held).toEqual([`hold ${inode}`]);
    const one = [u64(inode), u64(1)].flat();
    void harness.tell({ opcode: OPCODES.BATCH_FORGET }, u32(1), u32(0), one);
    expect(vfs.held).toEqual([`hold ${inode}`, `drop ${inode}`]);
  });

  it("AnAnswerThatTheKernelDoesNotWantCountsNothingAndLeavesNothingOpen", () => {
    const vfs = new Holding();
    const released: number[] = [];
    vfs.release = (handle) => void released.push(handle);
    const harness = new Harness(vfs);
    harness.wanted = false;
    void harness.tell({ opcode: OPCODES.CREATE }, ...createBody("f"));
    expect(vfs.held).toEqual(["hold 2", "drop 2"]);
    expect(released).toHaveLength(1);
    expect(harness.session.statistics.unwantedReplies).toBe(1);
  });

  it("ForgettingMoreThanIsKnownDoesNoHarm", () => {
    const vfs = new Holding();
    const harness = new Harness(vfs);
    const { inode } = create(harness, "f");
    for (const node of [inode, inode, 99]) {
      void harness.tell({ opcode: OPCODES.FORGET, node }, u64(1000));
    }
    expect(vfs.held).toEqual([`hold ${inode}`, `drop ${inode}`]);
  });

  it("WhatTheKernelStillHeldIsGivenBackOnceWhenItGoes", () => {
    const vfs = new Holding();
    const released: number[] = [];
    vfs.release = (handle) => void released.push(handle);
    const harness = new Harness(vfs);
    const a = create(harness, "a");
    const b = create(harness, "b");
    const release = [u64(a.handle), u32(0), u32(0), u64(0)]; // fuse_release_in
    harness.ask({ opcode: OPCODES.RELEASE, node: a.inode }, ...release);
    harness.session.close();
    harness.session.close();
    expect(vfs.held.slice(2)).toEqual(["drop 2", "drop 3"]);
    expect(released).toEqual([a.handle, b.handle]);
  });
});

describe("answers that come later", () => {
  class Slow extends NullFs {
    finish: (() => void) | undefined;
    override fsync(): Promise<void> {
      return new Promise((done) => {
        this.finish = done;
      });
    }
  }
  const fsyncBody = [u64(1), u32(0), u32(0)];

  it("AWaitingRequestIsAnsweredOnceWhenItIsDone", async () => {
    const vfs = new Slow();
    const harness = new Harness(vfs);
    const later = harness.tell({ opcode: OPCODES.FSYNC }, ...fsyncBody);
    expect(harness.answers).toEqual([]);
    expect(harness.session.statistics.inFlight).toBe(1);
    vfs.finish?.();
    await later;
    expect(harness.answers).toMatchObject([{ unique: 2, errno: 0 }]);
    expect(harness.session.statistics.inFlight).toBe(0);
  });

  it("OnlyAKilledCallerIsLetGoBeforeItsOperationEnds", async () => {
    const vfs = new Slow();
    const harness = new Harness(vfs);
    const later = harness.tell({ opcode: OPCODES.FSYNC }, ...fsyncBody);
    const interrupt = request({ opcode: OPCODES.INTERRUPT, unique: 3 }, u64(2));
    void harness.session.handle(interrupt);
    expect(harness.answers).toEqual([]);
    harness.dying = true;
    void harness.session.handle(interrupt);
    expect(harness.answers).toMatchObject([{ unique: 2, errno: ERRNO.EINTR }]);
    vfs.finish?.();
    await later;
    expect(harness.answers).toHaveLength(1);
    expect(harness.session.statistics.interrupted).toBe(1);
  });
});
