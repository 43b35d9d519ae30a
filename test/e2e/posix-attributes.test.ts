/** Times, modes and extended attributes on a mount, and what of them outlives it. */
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestMount, whyKernelLacks, whyNoFuse } from "./fuse-mount.ts";

const reason = whyNoFuse();
const noBirth = whyKernelLacks(": FUSE_STATX", [6, 6]);
const NOBODY = { uid: 65_534, gid: 65_534 };
const hasSetfacl = spawnSync("sh", ["-c", "command -v setfacl"]).status === 0;

describe.skipIf(reason !== undefined)(`attributes on a mount${reason ? `: ${reason}` : ""}`, () => {
  let mount: TestMount;
  beforeAll(async () => {
    mount = await TestMount.open();
    await mount.shell("chmod 1777 .");
  });
  afterAll(() => mount.close());

  it("TimesHaveNanosecondsAndAnyYear", async () => {
    const out = await mount.python(`
put("f")
for text in ("1901-12-13T00:00:00.000000001", "1969-12-31T23:59:59.999999999", "2106-02-07T06:28:16.5", "2200-01-01T00:00:00.123456789", "2500-06-01T12:00:00.000000007"):
    subprocess.run(["touch", "-d", text + "Z", "f"], check=True)
    s = os.stat("f"); print(s.st_mtime_ns, s.st_atime_ns == s.st_mtime_ns)
os.utime("f", ns=(-1, -1_000_000_001)); s = os.stat("f"); print(s.st_atime_ns, s.st_mtime_ns)`);
    expect(out).toEqual([
      "-2147558399999999999 True",
      "-1 True",
      "4294967296500000000 True",
      "7258118400123456789 True",
      "16738315200000000007 True",
      "-1 -1000000001",
    ]);
  });

  it("UtimensatKnowsNowOmitAndWhoMay", async () => {
    await mount.shell("touch u o; chmod 666 o; chmod 644 u; ln -s u l");
    const script = `
NOW, OMIT = (1 << 30) - 1, (1 << 30) - 2
def utimens(path, a, m, flags=0):
    times = struct.pack("qqqq", 5, a, 6, m)
    return call(syscall, libc.utimensat, -100, path.encode(), times, flags)
def times(path): s = os.lstat(path); return s.st_atime_ns, s.st_mtime_ns
`;
    const out = await mount.python(`${script}
print(utimens("u", 7, 8), times("u"), utimens("u", OMIT, 9), times("u"), utimens("u", 3, OMIT), times("u"))
before = os.stat("u").st_ctime_ns; print(utimens("u", OMIT, OMIT), times("u"), os.stat("u").st_ctime_ns == before)
print(utimens("u", NOW, NOW), times("u")[0] > 10 ** 18, times("u")[0] == times("u")[1])
print(utimens("l", 1, 2, 0x100), times("l"), times("u")[0] > 10 ** 18, utimens("u", 10 ** 9, 0))`);
    expect(out).toEqual([
      "0 (5000000007, 6000000008) 0 (5000000007, 6000000009) 0 (5000000003, 6000000009)",
      "0 (5000000003, 6000000009) True",
      "0 True True",
      "0 (5000000001, 6000000002) True EINVAL",
    ]);
    const others = await mount.python(
      `${script}\nprint(utimens("o", NOW, NOW), utimens("o", 1, 1), utimens("o", NOW, OMIT), utimens("u", NOW, NOW), utimens("o", OMIT, OMIT))`,
      NOBODY,
    );
    expect(others).toEqual(["0 EPERM EPERM EACCES 0"]);
  });

  it("EveryOperationMovesTheTimesThatPosixSays", async () => {
    const out = await mount.python(`
os.mkdir("t"); os.chdir("t"); put("f", b"1"); os.mkdir("d")
def moved(act, *paths):
    before = [os.lstat(p) for p in paths]; act(); after = [os.lstat(p) for p in paths]
    return " ".join("".join(c for c, k in zip("amc", ("st_atime_ns", "st_mtime_ns", "st_ctime_ns")) if getattr(b, k) < getattr(x, k)) or "-" for b, x in zip(before, after))
fd = os.open("f", os.O_RDWR)
print(moved(lambda: os.pwrite(fd, b"x", 0), "f"), moved(lambda: os.pread(fd, 1, 0), "f"), moved(lambda: os.chmod("f", 0o600), "f"), moved(lambda: os.ftruncate(fd, 100), "f"), moved(lambda: os.ftruncate(fd, 100), "f"), moved(lambda: os.posix_fallocate(fd, 0, 500), "f"))
print(moved(lambda: os.link("f", "d/l"), "f", "d"), moved(lambda: os.unlink("d/l"), "f", "d"), moved(lambda: os.rename("f", "d/g"), ".", "d"), moved(lambda: os.setxattr("d/g", "user.k", b"v"), "d/g"), moved(lambda: put("d/new"), "d", "."), moved(lambda: os.listdir("d"), "d"))
os.close(fd); os.chdir(".."); subprocess.run("rm -r t", shell=True)`);
    expect(out).toEqual(["mc - c mc mc mc", "c mc c mc mc mc c mc - -"]);
  });

  it.skipIf(noBirth !== undefined)(`TheTimeOfCreationIsKept${noBirth ?? ""}`, async () => {
    const script = `
def btime(path):
    buffer = ctypes.create_string_buffer(256)
    syscall(libc.statx, -100, path.encode(), 0x100, 0xfff, buffer)
    mask, = struct.unpack_from("I", buffer, 0); s, n = struct.unpack_from("qI", buffer, 0x50)
    return mask & 0x800, s * 10 ** 9 + n
`;
    const out = await mount.python(`${script}
put("b"); s = os.stat("b"); mask, born = btime("b"); print(mask, born == s.st_mtime_ns)
os.utime("b", (1, 1)); os.chmod("b", 0o600); put("b", b"more"); os.rename("b", "b2"); print(btime("b2")[1] == born)
os.mknod("null", 0o20600, os.makedev(1, 3)); os.mknod("big", 0o60600, os.makedev(0xabc, 0x12345)); btime("big")
print([(oct(os.stat(n).st_mode), os.major(os.stat(n).st_rdev), os.minor(os.stat(n).st_rdev)) for n in ("null", "big")]); print(born)`);
    const born = out.pop();
    expect(out).toEqual(["2048 True", "True", `[('0o20600', 1, 3), ('0o60600', 2748, 74565)]`]);
    await mount.remount("crash");
    expect(await mount.python(`${script}\nprint(btime("b2")[1])`)).toEqual([born]);
    await mount.shell("rm b2 null big");
  });

  it("ExtendedAttributesGoTo64KiBWithLinuxErrors", async () => {
    const out = await mount.python(`
put("x"); os.mkdir("xd"); os.symlink("x", "xs"); X = os.setxattr; G = os.getxattr
for n in (0, 1, 2048, 2049, 65536): X("x", f"user.{n}", b"v" * n)
print([len(G("x", f"user.{n}")) for n in (0, 1, 2048, 2049, 65536)], call(X, "x", "user.big", b"v" * 65537))
print(call(X, "x", "user.1", b"", os.XATTR_CREATE), call(X, "x", "user.none", b"", os.XATTR_REPLACE), call(G, "x", "user.none"), call(os.removexattr, "x", "user.none"))
def raw(name, size): return call(syscall, libc.getxattr, b"x", name.encode(), ctypes.create_string_buffer(max(1, size)), size)
print(raw("user.2049", 0), raw("user.2049", 2048), raw("user.2049", 2049), raw("user.0", 0), raw("user.1", 1))
print(call(X, "x", "user." + "n" * 250, b"1"), call(X, "x", "user." + "n" * 251, b"1"), call(X, "x", "user.", b"1"), call(X, "x", "bad.name", b"1"), call(X, "x", "noprefix", b"1"))
print(call(X, "xs", "user.k", b"1", follow_symlinks=False), call(X, "xs", "trusted.k", b"1", follow_symlinks=False), os.listxattr("xs", follow_symlinks=False))
X("x", "trusted.t", b"t"); X("x", "security.s", b"s"); X("xd", "user.d", b"d"); os.chmod("x", 0o644)
print(len(os.listxattr("x")), call(syscall, libc.listxattr, b"x", None, 0) > 255, call(syscall, libc.listxattr, b"x", ctypes.create_string_buffer(5), 5))`);
    expect(out).toEqual([
      "[0, 1, 2048, 2049, 65536] E2BIG",
      "EEXIST ENODATA ENODATA ENODATA",
      "2049 ERANGE 2049 0 1",
      "ok ERANGE EINVAL ENOTSUP ENOTSUP",
      "EPERM ok ['trusted.k']",
      "8 True ERANGE",
    ]);
    const others = await mount.python(
      `
print("trusted.t" in os.listxattr("x"), call(os.getxattr, "x", "trusted.t"), call(os.setxattr, "x", "trusted.u", b""), call(os.getxattr, "x", "security.s"))
print(call(os.setxattr, "x", "security.s", b""), call(os.setxattr, "x", "user.1", b""), call(os.getxattr, "x", "user.1"), call(os.removexattr, "x", "user.1"))`,
      NOBODY,
    );
    expect(others).toEqual(["False ENODATA EPERM b's'", "EPERM EACCES b'v' EACCES"]);
    await mount.remount("stop");
    const kept = `print(len(os.getxattr("x", "user.65536")), os.getxattr("xd", "user.d"), len(os.listxattr("x")))`;
    expect(await mount.python(kept)).toEqual(["65536 b'd' 8"]);
    await mount.shell("rm -r x xd xs");
  });

  it("WritersTakeFileCapabilitiesAway", async () => {
    const out = await mount.python(`
NAME, VALUE = "security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
put("cap", b"program"); put("other", b"source"); fd = os.open("cap", os.O_RDWR); other = os.open("other", os.O_RDONLY)
def keeps(act):
    os.setxattr("cap", NAME, VALUE); act(); return NAME in os.listxattr("cap")
print(keeps(lambda: os.pread(fd, 1, 0)), keeps(lambda: os.chmod("cap", 0o755)), keeps(lambda: os.utime("cap")), keeps(lambda: os.setxattr("cap", "user.k", b"v")))
print(keeps(lambda: os.pwrite(fd, b"x", 0)), keeps(lambda: os.ftruncate(fd, 1)), keeps(lambda: os.close(os.open("cap", os.O_WRONLY | os.O_TRUNC))), keeps(lambda: os.chown("cap", 0, 0)), keeps(lambda: os.posix_fallocate(fd, 0, 100)), keeps(lambda: os.copy_file_range(other, fd, 5)), keeps(lambda: os.removexattr("cap", NAME)))`);
    expect(out).toEqual(["True True True True", "False False False False False False False"]);
    await mount.shell("rm cap other");
  });

  it("AccessControlListsAreRefusedNotForgotten", async () => {
    const out = await mount.python(`
put("acl"); os.mkdir("acls")
value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in ((1, 6, 0xffffffff), (2, 4, 1000), (4, 4, 0xffffffff), (16, 6, 0xffffffff), (32, 4, 0xffffffff)))
for name in ("system.posix_acl_access", "system.posix_acl_default", "system.nfs4_acl"):
    print(call(os.setxattr, "acls", name, value), call(os.getxattr, "acls", name), call(os.getxattr, "acl", name))`);
    expect(new Set(out)).toEqual(new Set(["ENOTSUP ENOTSUP ENOTSUP"]));
  });

  it.skipIf(!hasSetfacl)(
    `SetfaclSaysThatItIsNotSupported${hasSetfacl ? "" : ": needs setfacl"}`,
    async () => {
      await expect(mount.shell("setfacl -m u:1000:r acl")).rejects.toThrow(/not supported/);
    },
  );

  it("InodeNumbersStayAndAreNotUsedAgain", async () => {
    const list = `
numbers = {}
for at, ds, fs in os.walk("i"):
    for n in ds + fs: numbers[os.path.join(at, n)] = os.lstat(os.path.join(at, n)).st_ino
print(sorted(numbers.items()))`;
    const before = await mount.python(`
os.mkdir("i"); os.mkdir("i/d"); put("i/f", b"1"); put("i/d/g"); os.symlink("x", "i/s"); os.mkfifo("i/p")
gone = [os.stat("i/f").st_ino]; os.unlink("i/f"); put("i/f"); assert os.stat("i/f").st_ino not in gone
os.rename("i/d/g", "i/h")${list}`);
    for (const how of ["stop", "crash"] as const) {
      await mount.remount(how);
      expect(await mount.python(list)).toEqual(before);
    }
    await mount.shell("rm -r i");
  });
});
