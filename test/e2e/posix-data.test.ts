/** File data on a mount: sizes, allocation, holes, mappings, appends and locks. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestMount, whyNoFuse } from "./fuse-mount.ts";

const reason = whyNoFuse();

describe.skipIf(reason !== undefined)(`data on a mount${reason ? `: ${reason}` : ""}`, () => {
  let mount: TestMount;
  beforeAll(async () => {
    mount = await TestMount.open();
  });
  afterAll(() => mount.close());

  it("AFileEndsBefore2To53", async () => {
    const out = await mount.python(`
fd = os.open("f", C); END = (1 << 53) - 1
fallocate = lambda mode, at, n: call(syscall, libc.fallocate, fd, mode, ctypes.c_long(at), ctypes.c_long(n))
print(call(os.ftruncate, fd, END), os.fstat(fd).st_size == END, call(os.ftruncate, fd, END + 1), call(os.ftruncate, fd, (1 << 63) - 1))
print(call(os.pwrite, fd, b"xy", END - 2), call(os.pwrite, fd, b"xy", END - 1), call(os.pwrite, fd, b"x", 1 << 60), os.pread(fd, 10, END - 2), os.pread(fd, 10, 1 << 60))
print(call(os.lseek, fd, 1 << 60, os.SEEK_DATA), call(os.lseek, fd, 0, os.SEEK_DATA) >= END - 65536, os.lseek(fd, 0, os.SEEK_HOLE), os.lseek(fd, END - 1, os.SEEK_HOLE) == END)
print(fallocate(0, 1 << 60, 1), fallocate(0, (1 << 62) + (1 << 61), 1 << 61), fallocate(3, 1 << 60, 1), os.fstat(fd).st_blocks)
os.unlink("f")`);
    expect(out).toEqual([
      "ok True EFBIG EFBIG",
      "2 EFBIG EFBIG b'xy' b''",
      "ENXIO True 0 True",
      "EFBIG EFBIG EFBIG 1",
    ]);
  });

  it("FallocateKnowsItsModes", async () => {
    const out = await mount.python(`
KEEP, PUNCH, COLLAPSE, ZERO, INSERT, UNSHARE = 1, 2, 8, 16, 32, 64
fd = os.open("f", C)
def allocate(mode, at, n): return call(syscall, libc.fallocate, fd, mode, ctypes.c_long(at), ctypes.c_long(n))
def size(): return os.fstat(fd).st_size
print(allocate(0, 0, 100000), size(), allocate(KEEP, 0, 200000), size(), allocate(0, 50, 10), size())
os.pwrite(fd, b"x" * 100000, 0)
print(allocate(PUNCH | KEEP, 1000, 50000), size(), os.pread(fd, 60000, 0) == b"x" * 1000 + b"\\0" * 50000 + b"x" * 9000, os.lseek(fd, 0, os.SEEK_HOLE), os.lseek(fd, 1000, os.SEEK_DATA))
print(allocate(ZERO, 60000, 60000), size(), os.pread(fd, 70000, 59999) == b"x" + b"\\0" * 60000, allocate(ZERO | KEEP, 119999, 9000), size())
print(allocate(PUNCH, 0, 10), allocate(PUNCH | ZERO | KEEP, 0, 10), allocate(COLLAPSE, 0, 4096), allocate(INSERT, 0, 4096), allocate(UNSHARE, 0, 10), allocate(128, 0, 10))
print(allocate(0, 0, 0), allocate(0, -1, 10), allocate(PUNCH | KEEP, 1 << 40, 10), size())
fd = os.open("f", os.O_RDONLY); print(allocate(0, 0, 10)); fd = os.open(".", os.O_RDONLY); print(allocate(0, 0, 10))
r, fd = os.pipe(); print(allocate(0, 0, 10)); os.unlink("f")`);
    expect(out).toEqual([
      "0 100000 0 100000 0 100000",
      "0 100000 True 1000 51000",
      "0 120000 True 0 120000",
      "ENOTSUP ENOTSUP ENOTSUP ENOTSUP ENOTSUP ENOTSUP",
      "EINVAL EINVAL 0 120000",
      "EBADF",
      "EBADF",
      "ESPIPE",
    ]);
  });

  it("MappingsAreSharedBetweenProcessesAndWithReads", async () => {
    const out = await mount.python(`
fd = os.open("m", C); os.ftruncate(fd, 300000); m = mmap.mmap(fd, 300000)
def write():
    n = mmap.mmap(os.open("m", os.O_RDWR), 300000); n[0:5] = b"child"; n[299995:300000] = b"ender"; n.flush()
os.waitpid(child(write), 0); print(m[0:5], os.pread(fd, 5, 299995))
os.pwrite(fd, b"written", 70000); print(m[70000:70007]); m[80000:80003] = b"map"; print(os.pread(fd, 3, 80000))
private = mmap.mmap(fd, 4096, mmap.MAP_PRIVATE); private[0:5] = b"mine!"; print(os.pread(fd, 5, 0), private[0:5])
os.ftruncate(fd, 1000); os.ftruncate(fd, 300000); print(m[80000:80003], os.pread(fd, 5, 0))
m[1000:1010] = b"0123456789"; m.flush(); os.unlink("m"); m[5000:5002] = b"ok"; print(m[5000:5002])
fd = os.open("s", C); os.ftruncate(fd, 8192); m = mmap.mmap(fd, 8192); m[4096:4100] = b"sync"; m.flush(4096, 4096)`);
    expect(out).toEqual([
      "b'child' b'ender'",
      "b'written'",
      "b'map'",
      "b'child' b'mine!'",
      "b'\\x00\\x00\\x00' b'child'",
      "b'ok'",
    ]);
    await mount.remount("crash");
    expect(await mount.python(`print(get("s")[4096:4101]); os.unlink("s")`)).toEqual([
      "b'sync\\x00'",
    ]);
  });

  it("ProcessesThatAppendLoseNothing", async () => {
    const out = await mount.python(`
put("log")
def append(who):
    fd = os.open("log", os.O_WRONLY | os.O_APPEND)
    for i in range(200): os.write(fd, b"%d:%04d|" % (who, i) + bytes([97 + who]) * (i * 7 % 300) + b"\\n")
for pid in [child(lambda who=who: append(who)) for who in range(4)]: os.waitpid(pid, 0)
lines = get("log").split(b"\\n")[:-1]; print(len(lines), len(set(lines)))
for who in range(4):
    own = [line for line in lines if line.startswith(b"%d:" % who)]
    assert own == [b"%d:%04d|" % (who, i) + bytes([97 + who]) * (i * 7 % 300) for i in range(200)]
fd = os.open("log", os.O_WRONLY | os.O_APPEND); size = os.fstat(fd).st_size
print(os.pwrite(fd, b"end", 0), get("log").endswith(b"end"), os.fstat(fd).st_size - size); os.unlink("log")`);
    expect(out).toEqual(["800 800", "3 True 3"]);
  });

  it("LocksHoldBetweenProcessesAndGoWithThem", async () => {
    const out = await mount.python(`
put("l", b"x" * 100)
def holder(lock):
    r, w = os.pipe()
    def hold():
        fd = os.open("l", os.O_RDWR); lock(fd); os.write(w, b"."); signal.pause()
    pid = child(hold); os.read(r, 1); return pid
def tries(*what):
    fd = os.open("l", os.O_RDWR)
    result = " ".join(str(call(*[fd if a is None else a for a in each])) for each in what)
    os.close(fd); return result
SH, EX, NB = fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_NB
pid = holder(lambda fd: fcntl.flock(fd, EX))
print(tries((fcntl.flock, None, SH | NB), (fcntl.lockf, None, EX | NB)))
os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0); print(tries((fcntl.flock, None, EX | NB)))
pid = holder(lambda fd: fcntl.lockf(fd, EX, 10, 50))
print(tries((fcntl.lockf, None, EX | NB, 50, 0), (fcntl.lockf, None, EX | NB, 1, 59), (fcntl.lockf, None, EX | NB, 0, 60), (fcntl.flock, None, EX | NB)))
fd = os.open("l", os.O_RDWR); lock = fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0))
print(struct.unpack("hhqqi", lock)[2:4], struct.unpack("hhqqi", lock)[4] == pid)
os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0); print(tries((fcntl.lockf, None, EX | NB)))
pid = holder(lambda fd: fcntl.lockf(fd, SH, 10)); print(tries((fcntl.lockf, None, SH | NB, 10), (fcntl.lockf, None, EX | NB, 10)))
waiter = child(lambda: fcntl.lockf(os.open("l", os.O_RDWR), EX, 10)); os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
print(os.waitpid(waiter, 0)[1]); OFD_SETLK = 37
def ofd(fd): return call(fcntl.fcntl, fd, OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0)) != "EAGAIN"
a, b = os.open("l", os.O_RDWR), os.open("l", os.O_RDWR); print(ofd(a), ofd(b)); os.close(a); print(ofd(b)); os.unlink("l")`);
    expect(out).toEqual([
      "EAGAIN ok",
      "ok",
      "ok EAGAIN ok ok",
      "(50, 10) True",
      "ok",
      "ok EAGAIN",
      "0",
      "True False",
      "True",
    ]);
  });

  it("WhatIsNotThereSaysSo", async () => {
    const out = await mount.python(`
put("f", b"0123456789"); fd = os.open("f", os.O_RDWR)
FS_IOC_GETFLAGS, FICLONE = 0x80086601, 0x40049409
print(call(fcntl.ioctl, fd, FS_IOC_GETFLAGS, b"\\0" * 8), call(fcntl.ioctl, fd, FICLONE, os.open("f", os.O_RDONLY)), call(fcntl.ioctl, os.open(".", os.O_RDONLY), FS_IOC_GETFLAGS, b"\\0" * 8))
import select; print(select.select([fd], [fd], [], 0) == ([fd], [fd], []), call(os.posix_fadvise, fd, 0, 0, os.POSIX_FADV_WILLNEED), call(os.sync), call(syscall, libc.syncfs, fd))
direct = os.open("f", os.O_RDWR | os.O_DIRECT); buffer = mmap.mmap(-1, 4096); print(os.readv(direct, [buffer]), buffer[:10])
print(call(os.open, "f", os.O_RDWR | os.O_DIRECTORY), call(os.open, ".", os.O_RDWR), call(os.open, "f", C | os.O_EXCL), os.open("f", os.O_PATH) > 0, call(os.lseek, fd, -1, os.SEEK_SET), call(os.pread, fd, 1, -1))
os.unlink("f")`);
    expect(out).toEqual([
      "ENOTTY ENOTSUP ENOTTY",
      "True ok ok 0",
      "10 b'0123456789'",
      "ENOTDIR EISDIR EEXIST True EINVAL EINVAL",
    ]);
  });
});
