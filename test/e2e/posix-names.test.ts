/** Names, links, renames and directories on a mount, as Linux's local file systems have them. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestMount, whyNoFuse } from "./fuse-mount.ts";

const reason = whyNoFuse();
const NOBODY = { uid: 65_534, gid: 65_534 };

describe.skipIf(reason !== undefined)(`names on a mount${reason ? `: ${reason}` : ""}`, () => {
  let mount: TestMount;
  beforeAll(async () => {
    mount = await TestMount.open();
  });
  afterAll(() => mount.close());

  it("NamesAreAny255BytesButSlashAndNul", async () => {
    const out = await mount.python(`
every = bytes(b for b in range(1, 256) if b != 47)
names = [every[:200], every[54:], b"\\xff" * 255, b"\\xc3", "é".encode() * 127, b" ", b"\\n", b"...", b"-rf"]
os.mkdir("n"); os.chdir("n")
for i, name in enumerate(names): put(name, b"%d" % i)
print(sorted(os.listdir(b".")) == sorted(names), all(get(n) == b"%d" % i for i, n in enumerate(names)))
print(call(put, b"x" * 256), call(os.mkdir, b"\\xff" * 256), call(os.symlink, "x", "y" * 256))
for name in names: os.rename(name, name[::-1] + b"" if len(name) > 1 else name + b"2")
print(len(os.listdir(b".")))
for name in os.listdir(b"."): os.unlink(name)
os.chdir(".."); os.rmdir("n")`);
    expect(out).toEqual(["True True", "ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG", "9"]);
  });

  it("PathsAndLinksThatGoWrongSayHow", async () => {
    const out = await mount.python(`
os.mkdir("d"); put("f"); os.symlink("loop", "loop"); os.symlink("b", "a"); os.symlink("a", "b")
print(call(os.stat, "loop"), call(os.stat, "a"), call(os.open, "loop", os.O_RDONLY | os.O_NOFOLLOW))
for i in range(40): os.symlink(f"c{i + 1}", f"c{i}")
put("c40", b"end"); print(call(os.stat, "c0") != "ELOOP", call(os.symlink, "c0", "d/x"))
os.symlink("c0", "c"); print(call(os.stat, "c"))
deep = "d/" * 2100; print(call(os.stat, deep), call(os.stat, "/".join(["d"] * 2048)))
print(call(os.stat, "f/x"), call(os.mkdir, "f/x"), call(os.stat, "f/"), call(os.mkdir, "d"), call(os.rmdir, "f"))
print(call(os.unlink, "d"), call(os.rmdir, "d"), call(os.rmdir, "d/."), call(os.rmdir, "d/.."))
put("d/y"); print(call(os.rmdir, "d"), call(os.rename, "d", "d/z"), call(os.rename, "f", "d"), call(os.rename, "d", "f"))
print(call(os.link, "d", "e"), call(os.symlink, "", "e"), call(os.symlink, "t" * 4096, "e"), call(os.symlink, "t" * 4095, "e"))
print(len(os.readlink("e")), os.lstat("e").st_size, call(os.readlink, "f"))
print(call(os.rename, "f", "/dev/shm/f"), call(os.link, "f", "/dev/shm/f"), call(os.link, "/proc/version", "v"))
subprocess.run("rm -r d f a b c* e loop", shell=True, check=True); print(os.listdir("."))`);
    expect(out).toEqual([
      "ELOOP ELOOP ELOOP",
      "True ok",
      "ELOOP",
      "ENAMETOOLONG ENOENT",
      "ENOTDIR ENOTDIR ENOTDIR EEXIST ENOTDIR",
      "EISDIR ENOTEMPTY EINVAL ENOTEMPTY",
      "ENOTEMPTY EINVAL EISDIR ENOTDIR",
      "EPERM ENOENT ENAMETOOLONG ok",
      "4095 4095 EINVAL",
      "EXDEV EXDEV EXDEV",
      "[]",
    ]);
  });

  it("Renameat2KnowsItsFlags", async () => {
    const out = await mount.python(`
def rename(a, b, flags): return call(syscall, libc.renameat2, -100, a.encode(), -100, b.encode(), flags)
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
os.mkdir("d"); put("d/in"); put("f", b"f"); os.symlink("x", "s")
print(rename("f", "d", NOREPLACE), rename("f", "f", NOREPLACE), rename("f", "g", NOREPLACE), rename("g", "f", 0))
print(rename("d", "f", EXCHANGE), os.listdir("f"), get("d"), os.stat(".").st_nlink)
print(rename("d", "s", EXCHANGE), os.readlink("d"), rename("d", "no", EXCHANGE), rename("d", "no", EXCHANGE | NOREPLACE))
print(rename("f", "f/in", EXCHANGE), rename("f/in", "f", EXCHANGE), rename("s", "f/in", EXCHANGE))
print(rename("s", "w", WHITEOUT), rename("s", "w", 8))
os.mkdir("p"); os.mkdir("q"); os.mkdir("p/x")
print(rename("p/x", "q", EXCHANGE), [os.stat(n).st_nlink for n in ("p", "q", ".")], os.listdir("p"), os.stat("p/x/..").st_ino == os.stat("p").st_ino)
subprocess.run("rm -r d f s p q", shell=True, check=True)`);
    expect(out).toEqual([
      "EEXIST EEXIST 0 0",
      "0 ['in'] b'f' 3",
      "0 x ENOENT EINVAL",
      "EINVAL EINVAL 0",
      "EINVAL EINVAL",
      "0 [3, 2, 5] ['x'] True",
    ]);
  });

  it("LinksAreCountedAndLeadToOneFile", async () => {
    const out = await mount.python(`
put("a", b"1"); before = os.stat("a")
for i in range(50): os.link("a", f"l{i}")
s = os.stat("l49"); print(s.st_nlink, s.st_ino == before.st_ino, s.st_ctime_ns > before.st_ctime_ns, s.st_mtime_ns == before.st_mtime_ns)
put("l7", b"seven"); print(get("a"), os.stat("l3").st_size)
print(call(os.rename, "l1", "l2"), os.stat("a").st_nlink, os.path.exists("l1"))
fd = os.open("a", os.O_RDONLY)
for name in ["a"] + [f"l{i}" for i in range(50)]: os.unlink(name)
print(os.fstat(fd).st_nlink, os.pread(fd, 9, 0), call(os.link, f"/proc/self/fd/{fd}", "again"))
os.symlink("t", "s"); os.link("s", "s2", follow_symlinks=False); print(os.lstat("s").st_nlink, os.readlink("s2"))
os.mkfifo("p"); os.link("p", "p2"); print(os.stat("p").st_nlink); [os.unlink(n) for n in ("s", "s2", "p", "p2")]
d = os.stat("."); [os.mkdir(f"d{i}") for i in range(5)]; put("plain"); print(os.stat(".").st_nlink - d.st_nlink)
[os.rmdir(f"d{i}") for i in range(5)]; os.unlink("plain")`);
    expect(out).toEqual([
      "51 True True True",
      "b'seven' 5",
      "ok 51 True",
      "0 b'seven' EXDEV",
      "2 t",
      "2",
      "5",
    ]);
  });

  it("ADirectoryIsReadOnFromAnyPlaceWhileItChanges", async () => {
    const out = await mount.python(`
class Entry(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("reclen", ctypes.c_uint16), ("type", ctypes.c_uint8), ("name", ctypes.c_char * 256)]
for f, r in (("opendir", ctypes.c_void_p), ("readdir", ctypes.POINTER(Entry)), ("telldir", ctypes.c_long)): getattr(libc, f).restype = r
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
for f in ("readdir", "telldir", "rewinddir", "closedir"): getattr(libc, f).argtypes = [ctypes.c_void_p]
os.mkdir("t"); n = 1500
for i in range(n): put(f"t/{i:04}")
d = libc.opendir(b"t"); seen, cookies = [], []
while True:
    cookies.append(libc.telldir(d)); e = libc.readdir(d)
    if not e: break
    seen.append(e.contents.name)
print(len(seen), len(set(seen)), b"." in seen, b".." in seen, len(set(cookies)))
for at in (0, 1, 2, 3, 700, 1400, 1501):
    libc.seekdir(d, cookies[at]); assert libc.readdir(d).contents.name == seen[at], at
rest = set()
libc.seekdir(d, cookies[500])
for i, name in enumerate(seen[2:500]):
    if name not in (b".", b".."): os.unlink(b"t/" + name)
for i in range(300): put(f"t/new{i}")
while True:
    e = libc.readdir(d)
    if not e: break
    assert e.contents.name not in rest; rest.add(e.contents.name)
print(set(seen[500:]) - {b".", b".."} <= rest, len(rest) <= n - 498 + 2 + 300)
libc.rewinddir(d); all = set()
while True:
    e = libc.readdir(d)
    if not e: break
    all.add(e.contents.name)
print(all == set(os.listdir(b"t")) | {b".", b".."}, len(all)); libc.closedir(d)
subprocess.run("rm -r t", shell=True, check=True)`);
    expect(out).toEqual(["1502 1502 True True 1503", "True True", "True 1304"]);
  });

  it("StickySetGidAndPermissionsHoldForOthers", async () => {
    await mount.python(`
os.mkdir("tmp"); os.chmod("tmp", 0o1777); put("tmp/root", b"r"); os.chmod("tmp/root", 0o666)
os.mkdir("team"); os.chown("team", 0, 4242); os.chmod("team", 0o2777)
os.mkdir("closed"); os.chmod("closed", 0o700); put("closed/f"); put("secret"); os.chmod("secret", 0o600)
put("suid", b"#!"); os.chmod("suid", 0o6777); os.mkdir("ro"); os.chmod("ro", 0o755); put("ro/f")`);
    const out = await mount.python(
      `
print(call(os.unlink, "tmp/root"), call(os.rename, "tmp/root", "tmp/x"), call(put, "tmp/root", b"ok"), call(put, "tmp/mine"), call(os.rename, "tmp/mine", "tmp/root"), call(os.unlink, "tmp/mine"))
os.mkdir("team/d"); put("team/f"); print([(os.stat(p).st_gid, oct(os.stat(p).st_mode)) for p in ("team/d", "team/f")])
print(call(os.stat, "closed/f"), call(os.listdir, "closed"), call(get, "secret"), call(os.chmod, "secret", 0o644), call(os.chown, "tmp/root", 65534, -1))
fd = os.open("suid", os.O_WRONLY); os.write(fd, b"x"); print(oct(os.stat("suid").st_mode))
print(call(put, "ro/g"), call(os.unlink, "ro/f"), call(os.utime, "ro/f"), call(os.truncate, "ro/f", 0), call(os.mknod, "tmp/dev", 0o20666, os.makedev(1, 3)))`,
      NOBODY,
    );
    expect(out).toEqual([
      "EPERM EPERM ok ok EPERM ok",
      "[(4242, '0o42755'), (4242, '0o100644')]",
      "EACCES EACCES EACCES EPERM EPERM",
      "0o100777",
      "EACCES EACCES EACCES EACCES EPERM",
    ]);
    await mount.shell("rm -r tmp team closed secret suid ro");
  });
});
