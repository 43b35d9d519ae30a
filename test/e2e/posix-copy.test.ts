/** copy_file_range(2) and O_TMPFILE on a mount: what the kernel asks, and what programs see. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestMount, whyKernelLacks, whyNoFuse } from "./fuse-mount.ts";

const reason = whyNoFuse();
const noTmpfile = whyKernelLacks(": FUSE_TMPFILE", [6, 1]);
const MEBIBYTE = 2 ** 20;

describe.skipIf(reason !== undefined)(`copies on a mount${reason ? `: ${reason}` : ""}`, () => {
  let mount: TestMount;
  beforeAll(async () => {
    mount = await TestMount.open();
  });
  afterAll(() => mount.close());

  const sharedBytes = async (): Promise<number> =>
    (await mount.server.ask<{ sharedBytes: number }>("fs")).sharedBytes;
  const writtenBytes = async (): Promise<number> =>
    (await mount.server.ask<{ writtenBytes: number }>("fs")).writtenBytes;

  it("CpCopiesWithoutWritingAByte", async () => {
    await mount.shell("head -c 20000001 /dev/urandom > a; sync a");
    const before = [await sharedBytes(), await writtenBytes()] as const;
    await mount.shell("cp a b; cmp a b");
    expect((await sharedBytes()) - before[0]).toBe(20_000_001);
    expect((await writtenBytes()) - before[1]).toBe(0);
    expect(await mount.shell("stat -c '%s %b' a b | uniq | wc -l")).toBe("1\n");
  });

  it("WhatSharesBlocksChangesForItself", async () => {
    const sums = await mount.shell(`
      head -c 3000000 a > head; dd if=/dev/zero of=b bs=1000 count=3000 conv=notrunc status=none
      cmp -n 3000000 a head; head -c 3000000 /dev/zero | cmp - -n 3000000 b
      tail -c +3000001 a > t; tail -c +3000001 b | cmp - t; rm t; truncate -s 100000 a
      sha256sum a b`);
    await mount.remount("crash");
    expect(await mount.shell("sha256sum a b; cmp -n 100000 a head; rm a head")).toBe(sums);
    expect(await mount.shell("tail -c +3000001 b | wc -c; rm b")).toBe("17000001\n");
  });

  it("RangesNeedNoAlignmentAndHolesStayHoles", async () => {
    const out = await mount.python(`
source, target = os.open("s", C), os.open("t", C)
os.ftruncate(source, 3 << 20); os.pwrite(source, b"x" * 70001, 1 << 20)
os.pwrite(target, b"y" * (4 << 20), 0)
def copy(at, to, n):
    done = 0
    while done < n:
        step = os.copy_file_range(source, target, n - done, at + done, to + done)
        if step == 0: break
        done += step
    return done
print(copy(777, 1001, 2 << 20))
whole = bytearray(b"y" * (4 << 20)); whole[1001:1001 + (2 << 20)] = os.pread(source, 2 << 20, 777)
print(os.pread(target, 4 << 20, 0) == bytes(whole))
print(os.lseek(target, 2000, os.SEEK_DATA) > 1000000, os.lseek(target, 0, os.SEEK_HOLE))
print(copy(1 << 20, 10 << 20, 5 << 20), os.fstat(target).st_size == 12 << 20)
print(os.stat("t").st_blocks * 512 < 3 << 20)
os.unlink("s"); os.unlink("t")`);
    expect(out).toEqual([
      String(2 * MEBIBYTE),
      "True",
      "True 1001",
      `${2 * MEBIBYTE} True`,
      "True",
    ]);
  });

  it("ErrorsAreThoseOfLinux", async () => {
    const out = await mount.python(`
fd = os.open("f", C); os.pwrite(fd, b"0123456789" * 1000, 0); os.mkdir("d")
copy = lambda a, b, n, i, j: call(os.copy_file_range, a, b, n, i, j)
print(copy(fd, fd, 5000, 0, 4999), copy(fd, fd, 5000, 0, 5000), copy(fd, fd, 100, 20000, 0))
r, w = os.open("f", os.O_RDONLY), os.open("g", os.O_CREAT | os.O_WRONLY)
print(copy(fd, r, 1, 0, 0), copy(w, fd, 1, 0, 0), copy(fd, os.open("g", os.O_WRONLY | os.O_APPEND), 1, 0, 0))
print(copy(os.open("d", os.O_RDONLY), w, 1, 0, 0), copy(fd, w, 10, 0, (1 << 53) - 5))
print(copy(fd, w, 10, 0, 100), os.fstat(w).st_size)`);
    expect(out).toEqual(["EINVAL 5000 0", "EBADF EBADF EBADF", "EISDIR EFBIG", "10 110"]);
  });

  it("MappedPagesSeeTheCopy", async () => {
    const out = await mount.python(`
a, b = os.open("a", C), os.open("b", C)
os.ftruncate(a, 200000); os.ftruncate(b, 200000)
ma, mb = mmap.mmap(a, 200000), mmap.mmap(b, 200000)
print(mb[100000], mb[199999]); ma[100000:100005] = b"hello"
print(os.copy_file_range(a, b, 200000, 0, 0), mb[100000:100005])
mb[100000:100005] = b"world"; print(ma[100000:100005], os.pread(b, 5, 100000), os.pread(a, 5, 100000))`);
    expect(out).toEqual(["0 0", "200000 b'hello'", "b'hello' b'world' b'hello'"]);
  });

  it.skipIf(noTmpfile !== undefined)(
    `AFileWithoutANameGetsOneOrGoes${noTmpfile ?? ""}`,
    async () => {
      const out = await mount.python(`
before = os.statvfs(".").f_files
def make(flags=0): return os.open(".", os.O_TMPFILE | os.O_RDWR | flags, 0o640)
fd = make(); os.write(fd, b"content"); s = os.fstat(fd)
print(s.st_nlink, oct(s.st_mode), os.pread(fd, 10, 0), "named" in os.listdir("."))
AT_EMPTY_PATH, AT_SYMLINK_FOLLOW = 0x1000, 0x400
def link(fd, name):
    return call(syscall, libc.linkat, -100, b"/proc/self/fd/%d" % fd, -100, name, AT_SYMLINK_FOLLOW)
print(link(fd, b"named"), os.fstat(fd).st_nlink, get("named"), link(fd, b"named"))
empty = make()
print(call(syscall, libc.linkat, empty, b"", -100, b"second", AT_EMPTY_PATH), os.stat("second").st_nlink)
never = make(os.O_EXCL); print(link(never, b"never"))
os.unlink("second"); print(link(empty, b"third"))
for each in (fd, empty, never): os.close(each)
os.unlink("named")
while os.statvfs(".").f_files != before: continue # Linux lets the file system know of a close later
`);
      expect(out).toEqual([
        "0 0o100640 b'content' False",
        "0 1 b'content' EEXIST",
        "0 1",
        "ENOENT",
        "ENOENT",
      ]);
    },
  );

  it.skipIf(noTmpfile !== undefined)(
    `AFileWithoutANameIsGoneAfterACrash${noTmpfile ?? ""}`,
    async () => {
      const free = "df --output=iused . | tail -1";
      const before = await mount.shell(free);
      const [holder] = await mount.python(`
fds = [os.open(".", os.O_TMPFILE | os.O_RDWR) for _ in range(20)]
for fd in fds: os.write(fd, b"x" * 100000)
os.fsync(fds[0])
def hold():
    for fd in (1, 2): os.dup2(os.open("/dev/null", os.O_RDWR), fd)
    signal.pause()
print(child(hold))`);
      expect(await mount.shell(free)).not.toBe(before);
      await mount.remount("crash");
      process.kill(Number(holder));
      expect(await mount.shell(free)).toBe(before);
    },
  );
});
