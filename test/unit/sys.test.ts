import { createSocket } from "node:dgram";
import { closeSync, mkdtempSync, openSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { toErrno } from "../../lib/errors.ts";
import { fallocate } from "../../sys/fallocate.ts";
import { tryLock } from "../../sys/lock.ts";
import { mount, unmount } from "../../sys/mount.ts";
import { mountAt, parseMountinfo } from "../../sys/mountinfo.ts";
import { isDying, supplementaryGroups } from "../../sys/process.ts";
import { setReceiveBuffer, setSendBuffer } from "../../sys/socket.ts";

const linux = process.platform === "linux";
let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "smfs-sys-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

describe.skipIf(!linux)("system calls (Linux only)", () => {
  it("FallocateGrowsTheFileAndTakesItsBlocks", () => {
    const path = join(directory, "allocated");
    const fd = openSync(path, "w");
    fallocate(fd, 4096, 65536);
    closeSync(fd);
    expect(statSync(path).size).toBe(4096 + 65536);
    expect(statSync(path).blocks * 512).toBeGreaterThanOrEqual(65536);
  });

  it("AFailedCallNamesItsErrnoAndTheCall", () => {
    const failed = () => fallocate(-1, 0, 1);
    expect(failed).toThrow(expect.objectContaining({ code: "EBADF", errno: 9 }));
    expect(failed).toThrow(/fallocate/);
  });

  it("AMountOfNothingFailsWithAnErrnoThatToErrnoKnows", () => {
    try {
      mount("none", join(directory, "missing"), "no-such-type", 0, "");
    } catch (error) {
      expect([1, 2, 19]).toContain(toErrno(error)); // EPERM, ENOENT or ENODEV, by privilege
      return;
    }
    throw new Error("mount of an unknown type succeeded");
  });

  it("UnmountOfADirectoryThatIsNoMountFails", async () => {
    await expect(unmount(directory, "now")).rejects.toThrow(/umount2/);
  });

  it("ASecondOpenFileDoesNotGetTheLockUntilTheFirstIsClosed", () => {
    const path = join(directory, "lock");
    const first = openSync(path, "w");
    const second = openSync(path, "w");
    expect(tryLock(first)).toBe(true);
    expect(tryLock(second)).toBe(false);
    closeSync(first);
    expect(tryLock(second)).toBe(true);
    closeSync(second);
  });

  it("SocketBuffersGrowToAtLeastWhatPlainProcessesMayHave", async () => {
    const socket = createSocket("udp4");
    await new Promise<void>((done) => socket.bind(0, "127.0.0.1", done));
    const { fd } = Reflect.get(socket, "_handle") as { fd: number };
    expect(setReceiveBuffer(fd, 180_000)).toBeGreaterThanOrEqual(180_000);
    expect(setSendBuffer(fd, 180_000)).toBeGreaterThanOrEqual(180_000);
    expect(socket.getRecvBufferSize()).toBe(setReceiveBuffer(fd, 180_000));
    socket.close();
  });

  it("SupplementaryGroupsAreThoseOfTheProcess", () => {
    const own = (process.getgroups?.() ?? []).toSorted((a, b) => a - b);
    const told = supplementaryGroups(process.pid).toSorted((a, b) => a - b);
    expect(own).toEqual(expect.arrayContaining(told));
    expect(supplementaryGroups(2 ** 22 + 1)).toEqual([]);
  });

  it("ALivingThreadIsNotDyingAndAMissingOneIs", () => {
    expect(isDying(process.pid)).toBe(false);
    expect(isDying(2 ** 22 + 1)).toBe(true);
  });

  it("TheRootIsAMountPointAndADirectoryInItIsNot", () => {
    expect(mountAt("/")?.mountpoint).toBe("/");
    expect(mountAt(directory)).toBeUndefined();
  });
});

describe("mountinfo", () => {
  it("PathsAreUnescapedAndOptionalFieldsPassedOver", () => {
    const text = [
      "22 27 0:21 / /proc rw,relatime shared:5 master:1 - proc proc rw",
      "41 27 0:39 / /mnt/a\\040b\\134c rw - fuse.smfs x rw,user_id=0",
      "",
    ].join("\n");
    expect(parseMountinfo(text)).toEqual([
      { mountpoint: "/proc", device: "0:21", type: "proc", source: "proc" },
      { mountpoint: "/mnt/a b\\c", device: "0:39", type: "fuse.smfs", source: "x" },
    ]);
  });
});
