import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { mountFuse } from "../../logfs/export/fuse/mount.ts";
import { Server, whyNoFuse } from "./fuse-mount.ts";

/** A tree to copy: this project's own. */
const SOURCES = fileURLToPath(new URL("../../logfs", import.meta.url));
const run = promisify(execFile);

/** fusermount3 opens the device with the rights of the user that calls it. */
function whyNoFusermount(): string | undefined {
  if ((statSync("/dev/fuse").mode & 0o006) !== 0o006) return "/dev/fuse is not open to every user";
  const found = (process.env["PATH"] ?? "").split(":").some((p) => existsSync(`${p}/fusermount3`));
  return found ? undefined : "needs fusermount3";
}

const reason = whyNoFuse();

describe.skipIf(reason !== undefined)(`a mounted file system${reason ? `: ${reason}` : ""}`, () => {
  const directory = mkdtempSync(join(tmpdir(), "smfs-fuse-"));
  const store = join(directory, "store");
  const mnt = join(directory, "mnt");
  let server: Server;

  beforeAll(async () => {
    mkdirSync(mnt);
    server = await Server.start(store, mnt);
  });
  afterAll(async () => {
    await server.stop();
    rmSync(directory, { recursive: true });
  });

  const shell = async (script: string): Promise<string> =>
    (await run("sh", ["-euc", script], { cwd: mnt, encoding: "utf8" })).stdout;
  const python = async (script: string): Promise<string> =>
    (await run("python3", ["-c", script], { cwd: mnt, encoding: "utf8" })).stdout;

  it("IsShownAsFuseSmfs", async () => {
    const { stdout } = await run("cat", ["/proc/mounts"]);
    // As it is: times of access change by utimens only.
    expect(stdout).toContain(`fuse-test ${mnt} fuse.smfs rw,nosuid,nodev,noatime,`);
  });

  it("OrdinaryToolsCopyMoveLinkAndPackATree", async () => {
    const out = await shell(`
      cp -a ${SOURCES} src
      cp -a src copy && diff -r src copy && mv copy moved
      ln moved/core/vfs.ts hard && ln -s moved/core/vfs.ts soft && cmp soft hard && stat -c %h hard
      tar cf t.tar moved && mkdir un && tar xf t.tar -C un && diff -r moved un/moved
      rm -r src moved un t.tar hard soft && ls -A
    `);
    expect(out.trim()).toBe("2");
  });

  it("EverySyncFlagReachesTheFileSystemAsItsRequest", async () => {
    await server.ask("calls");
    await python(`
import os
C = os.O_CREAT | os.O_WRONLY
def each(name, flags, act):
    fd = os.open(name, C | flags); act(fd); os.close(fd)
each("a", 0, lambda fd: os.write(fd, b"x"))
each("a", os.O_DSYNC, lambda fd: os.write(fd, b"x"))
each("a", os.O_SYNC, lambda fd: os.write(fd, b"x"))
each("a", 0, lambda fd: os.pwritev(fd, [b"x"], 0, os.RWF_DSYNC))
each("a", 0, lambda fd: os.pwritev(fd, [b"x"], 0, os.RWF_SYNC))
each("a", 0, os.fdatasync)
each("a", 0, os.fsync)
d = os.open(".", os.O_RDONLY); os.fsync(d); os.close(d)
os.unlink("a")`);
    expect(await server.ask("calls")).toEqual([
      "write none",
      // The kernel follows an O_DSYNC or O_SYNC write with the fsync that generic_write_sync asks for.
      "write data",
      "fsync data",
      "write full",
      "fsync full",
      "write data",
      "fsync data",
      "write full",
      "fsync full",
      "fsync data",
      "fsync full",
      "fsync full",
    ]);
  });

  it("Renameat2RefusesToReplaceAndExchanges", async () => {
    const out = await python(`
import ctypes, os, errno
libc = ctypes.CDLL(None, use_errno=True)
def rename(a, b, flags):
    r = libc.renameat2(-100, a.encode(), -100, b.encode(), flags)
    return errno.errorcode[ctypes.get_errno()] if r else "ok"
for n in "ab": open(n, "w").write(n)
print(rename("a", "b", 1), rename("a", "b", 2), open("a").read(), open("b").read(), rename("a", "c", 1))
os.unlink("b"); os.unlink("c")`);
    expect(out.trim()).toBe("EEXIST ok b a ok");
  });

  it("HolesAllocationAttributesAndNanosecondsAreThere", async () => {
    const out = await python(`
import os
fd = os.open("f", os.O_CREAT | os.O_RDWR)
os.pwrite(fd, b"end", 1 << 20)
print(os.lseek(fd, 0, os.SEEK_DATA) >= (1 << 20) - 65536, os.lseek(fd, 0, os.SEEK_HOLE))
os.posix_fallocate(fd, 0, 2 << 20); print(os.fstat(fd).st_size)
os.setxattr("f", "user.k", b"v" * 2000); print(len(os.getxattr("f", "user.k")), os.listxattr("f"))
os.utime("f", ns=(1, 1234567890123456789)); print(os.stat("f").st_mtime_ns)
os.unlink("f"); os.pwrite(fd, b"still", 0); print(os.pread(fd, 5, 0), os.fstat(fd).st_nlink)
os.close(fd); os.mkfifo("p"); print(oct(os.stat("p").st_mode)); os.unlink("p")`);
    expect(out.trim().split("\n")).toEqual([
      "True 0",
      String(2 << 20),
      "2000 ['user.k']",
      "1234567890123456789",
      "b'still' 0",
      "0o10644",
    ]);
  });

  it("ARemovedFileShowsItsAttributesToAnO_PATHHandleAndNoMore", async () => {
    const output = await python(`
import os
open("f", "w").write("x"); fd = os.open("f", os.O_PATH); os.unlink("f")
print(os.fstat(fd).st_nlink, os.fstat(fd).st_size)
try: os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
except OSError as e: print(e.strerror)
os.close(fd)`);
    expect(output).toBe("0 1\nStale file handle\n");
  });

  it("ADirectoryOfThousandsIsListedWhileItIsEmptied", async () => {
    const out = await python(`
import os
os.mkdir("big"); n = 3000
for i in range(n): open(f"big/{i}", "w").close()
print(len(set(os.listdir("big"))))
gone = 0
for e in os.scandir("big"): e.stat(); os.unlink(e.path); gone += 1
print(gone, os.listdir("big")); os.rmdir("big")`);
    expect(out.trim().split("\n")).toEqual(["3000", "3000 []"]);
  });

  it("AKilledProcessDoesNotStayInASyncThatWaits", async () => {
    await server.ask("block");
    const script = `
import os
fd = os.open("w", os.O_CREAT | os.O_WRONLY); os.write(fd, b"x")
print("syncing", flush=True); os.fsync(fd)`;
    const writer = spawn("python3", ["-c", script], { cwd: mnt });
    await once(writer.stdout, "data");
    await waitFor(async () => (await statistics()).inFlight === 1);
    writer.kill("SIGKILL");
    await once(writer, "exit");
    expect((await statistics()).interrupted).toBe(1);
    await server.ask("unblock");
    expect(await shell("cat w; rm w")).toBe("x");
  });

  it("WaitingWritersTakeABoundedNumberOfBuffersAndAllFinish", async () => {
    await server.ask("block");
    const script = `
import os, threading
def write(i):
    fd = os.open(f"sync-{i}", os.O_CREAT | os.O_WRONLY | os.O_SYNC); os.write(fd, b"x" * (1 << 20)); os.close(fd)
threads = [threading.Thread(target=write, args=[i]) for i in range(80)]
for t in threads: t.start()
for t in threads: t.join()
print(sum(os.stat(f"sync-{i}").st_size for i in range(80)) >> 20)`;
    const writers = python(script);
    await waitFor(async () => (await statistics()).inFlight === 64);
    await server.ask("unblock");
    expect((await writers).trim()).toBe("80");
    await shell("rm sync-*");
  });

  it("DataIsTheSameAfterAnotherMount", async () => {
    await shell("head -c 20000000 /dev/urandom > r; cp r s; sync r s");
    await python(`
import mmap
f = open("m", "wb+"); f.truncate(1 << 20); m = mmap.mmap(f.fileno(), 0); m[70000:70005] = b"hello"`);
    const before = await shell("sha256sum r s");
    await server.stop();
    server = await Server.start(store, mnt);
    expect(await shell("sha256sum r s; rm r s")).toBe(before);
    expect(await shell("tail -c +70001 m | head -c 5; rm m")).toBe("hello");
    expect((await statistics()).failures).toBe(0);
  });

  interface Statistics {
    inFlight: number;
    interrupted: number;
    failures: number;
  }
  const statistics = (): Promise<Statistics> => server.ask("statistics");

  async function waitFor(holds: () => Promise<boolean>): Promise<void> {
    while (!(await holds())) continue;
  }
});

describe.skipIf(reason !== undefined)(`mounts that go wrong${reason ? `: ${reason}` : ""}`, () => {
  const directory = mkdtempSync(join(tmpdir(), "smfs-fuse-"));
  const mnt = join(directory, "mnt");
  let server: Server | undefined;

  const mount = (mountpoint: string) =>
    mountFuse({ mountpoint, fsName: "x", access: "read-only", audience: "owner" });

  beforeAll(() => mkdirSync(mnt));
  afterEach(() => server?.stop());
  afterAll(() => rmSync(directory, { recursive: true }));

  const nobody = { uid: 65534, gid: 65534 };
  const whyNoUserMount = reason ?? whyNoFusermount();
  it.skipIf(whyNoUserMount !== undefined)(
    `AnOrdinaryUserMountsThroughFusermount${whyNoUserMount ? `: ${whyNoUserMount}` : ""}`,
    async () => {
      const home = mkdtempSync(join(tmpdir(), "smfs-fuse-user-"));
      const place = join(home, "mnt");
      mkdirSync(place);
      for (const path of [home, place]) chownSync(path, nobody.uid, nobody.gid);
      server = await Server.start(join(home, "store"), place, nobody);
      // Root may not even enter another user's mount: the shell goes there as the user.
      const script = 'cd "$0" && touch a && stat -c %u a && ls';
      const { stdout } = await run("sh", ["-c", script, place], { cwd: "/", ...nobody });
      expect(stdout).toBe("65534\na\n");
      await server.stop();
      expect(readdirSync(place)).toEqual([]);
      rmSync(home, { recursive: true });
    },
  );

  it("AMissingDirectoryAndAFileAreRefusedWithWhatTheyAre", async () => {
    await expect(mount(join(directory, "no"))).rejects.toMatchObject({ code: "NOT_FOUND" });
    writeFileSync(join(directory, "file"), "");
    await expect(mount(join(directory, "file"))).rejects.toThrow(/not a directory/);
  });

  it("AMountPointInUseIsRefused", async () => {
    server = await Server.start(join(directory, "store1"), mnt);
    await expect(mount(mnt)).rejects.toThrow(/is mounted on/);
    await expect(mount(mnt)).rejects.toMatchObject({ code: "BUSY" });
  });

  it("AKilledServerLeavesAMountThatSaysHowToRemoveIt", async () => {
    server = await Server.start(join(directory, "store2"), mnt);
    server.process.kill("SIGKILL");
    await once(server.process, "exit");
    await expect(run("ls", [mnt])).rejects.toThrow(/not connected/);
    await expect(mount(mnt)).rejects.toThrow(`umount -l ${mnt}`);
    await run("umount", ["-l", mnt]);
    expect((await run("ls", [mnt])).stdout).toBe("");
  });

  it("UnmountingABusyMountEndsTheServer", async () => {
    server = await Server.start(join(directory, "store3"), mnt);
    const holder = spawn("sh", ["-c", "exec 3>held; echo ready; read x"], { cwd: mnt });
    await once(holder.stdout, "data");
    await server.stop();
    expect(server.process.exitCode).toBe(0);
    expect((await run("ls", [mnt])).stdout).toBe("");
    holder.stdin.end();
    await once(holder, "exit");
  });
});
