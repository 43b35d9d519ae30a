/**
 * Mounting: from a directory to a descriptor of /dev/fuse that the kernel sends requests to.
 * mount(2) for root, fusermount3 for everybody else. Every refusal says what to do about it.
 */
import { closeSync, constants, openSync, writeFileSync } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { SmfsError, messageOf } from "../../../lib/errors.ts";
import { fusermount, fuserunmount } from "../../../sys/fusermount.ts";
import { setNonBlocking } from "../../../sys/device.ts";
import { MS_NOATIME, MS_NODEV, MS_NOSUID, MS_RDONLY, mount, unmount } from "../../../sys/mount.ts";
import { mountAt } from "../../../sys/mountinfo.ts";
import { MAX_IO_BYTES, S_IFDIR } from "./abi.ts";

const DEVICE = "/dev/fuse";
/** `mount` and /proc/mounts show it as fuse.smfs. */
const SUBTYPE = "smfs";

export interface MountOptions {
  readonly mountpoint: string;
  /** Shown as the mount's source. */
  readonly fsName: string;
  readonly access: "read-write" | "read-only";
  /** Who may use the mount: only the user that mounts, or everybody (permissions apply). */
  readonly audience: "owner" | "everybody";
  /**
   * Who checks permissions before the file system does, which always checks: the kernel, by the
   * attributes that it was given, or nobody. Without the kernel's checks names must not be cached:
   * it would walk through directories that the caller may not search.
   */
  readonly permissions?: "kernel" | "file system";
}

export interface FuseMount {
  /** O_NONBLOCK; belongs to the caller. */
  readonly fd: number;
  /** Without symbolic links. */
  readonly mountpoint: string;
  /** Unmounts; "busy" means that it was detached while files were open. */
  unmount(): Promise<"unmounted" | "busy">;
}

export async function mountFuse(options: MountOptions): Promise<FuseMount> {
  const mountpoint = await checkMountpoint(options.mountpoint);
  const asRoot = process.geteuid?.() === 0;
  const fd = asRoot ? mountAsRoot(mountpoint, options) : await mountAsUser(mountpoint, options);
  if (asRoot) raiseReadahead(mountpoint);
  const remove = asRoot ? unmount : fuserunmount;
  return { fd, mountpoint, unmount: () => unmountWith(remove, mountpoint) };
}

/** The directory's real path. */
async function checkMountpoint(given: string): Promise<string> {
  const path = await realpath(given).catch((error: unknown) => explain(given, error));
  const found = await stat(path).catch((error: unknown) => explain(path, error));
  if (!found.isDirectory()) throw new SmfsError("USAGE", `${given} is not a directory`);
  const there = mountAt(path);
  if (there !== undefined) {
    const what = `something (${there.type}) is mounted on ${given}; unmount it or choose another directory`;
    throw new SmfsError("BUSY", what);
  }
  return path;
}

function explain(path: string, error: unknown): never {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOENT") {
    throw new SmfsError("NOT_FOUND", `there is no directory ${path}; make it first`, error);
  }
  if (code === "ENOTCONN") {
    const what = `the server of the mount on ${path} is gone; remove it with: umount -l ${path}`;
    throw new SmfsError("BUSY", what, error);
  }
  throw new SmfsError("USAGE", `cannot mount on ${path}: ${messageOf(error)}`, error);
}

function mountAsRoot(mountpoint: string, options: MountOptions): number {
  const fd = openDevice();
  const access = options.access === "read-only" ? MS_RDONLY : 0;
  const flags = access | MS_NOSUID | MS_NODEV | MS_NOATIME;
  const owner = `user_id=${process.getuid?.() ?? 0},group_id=${process.getgid?.() ?? 0}`;
  const data = `fd=${fd},rootmode=${S_IFDIR.toString(8)},${owner},${common(options)}`;
  try {
    mount(options.fsName, mountpoint, `fuse.${SUBTYPE}`, flags, data);
    return fd;
  } catch (error) {
    closeSync(fd);
    const what = `the kernel refuses the mount on ${mountpoint} (in a container, it needs CAP_SYS_ADMIN)`;
    throw new SmfsError("NOT_PERMITTED", `${what}: ${messageOf(error)}`, error);
  }
}

function openDevice(): number {
  try {
    return openSync(DEVICE, constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    const todo = `load the fuse module, chmod 666 ${DEVICE}, or give a container --device ${DEVICE}`;
    throw new SmfsError("UNSUPPORTED", `${messageOf(error)}; ${todo}`, error);
  }
}

async function mountAsUser(mountpoint: string, options: MountOptions): Promise<number> {
  // fusermount3 opens the device with the rights of this user: a refusal is better explained here.
  closeSync(openDevice());
  const name = options.fsName.replace(/[,\\]/g, "\\$&");
  const access = options.access === "read-only" ? "ro" : "rw";
  const all = `${access},nosuid,nodev,noatime,fsname=${name},subtype=${SUBTYPE},${common(options)}`;
  const fd = await fusermount(mountpoint, all);
  setNonBlocking(fd);
  return fd;
}

function common(options: MountOptions): string {
  const audience = options.audience === "everybody" ? ",allow_other" : "";
  const permissions = options.permissions === "file system" ? "" : ",default_permissions";
  return `max_read=${MAX_IO_BYTES}${permissions}${audience}`;
}

/**
 * Sequential readers get requests of 1 MiB: the kernel's 128 KiB default would cap them, whatever
 * INIT agrees on. It only costs speed when sysfs does not let us.
 */
function raiseReadahead(mountpoint: string): void {
  const device = mountAt(mountpoint)?.device;
  if (device === undefined) return;
  try {
    writeFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, String(MAX_IO_BYTES / 1024));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
  }
}

async function unmountWith(
  remove: (mountpoint: string, how: "now" | "detach") => Promise<void>,
  mountpoint: string,
): Promise<"unmounted" | "busy"> {
  try {
    await remove(mountpoint, "now");
    return "unmounted";
  } catch {
    // Somebody was faster; mount(2) and fusermount3 say so in different ways.
    if (mountAt(mountpoint) === undefined) return "unmounted";
    await remove(mountpoint, "detach");
    return "busy";
  }
}
