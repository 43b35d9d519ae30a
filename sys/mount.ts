/** mount(2) and umount2(2), with the flags of include/uapi/linux/mount.h and linux/fs.h. */
import { declare, declareAsync } from "./libc.ts";

export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOATIME = 1024;

const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

const mountCall = declare(
  "mount",
  "int mount(const char *source, const char *target, const char *fstype, unsigned long flags, const char *data)",
);
const umountCall = declareAsync("umount2", "int umount2(const char *target, int flags)");

/** Mounts; `data` is the file system's own option string. Throws `SystemError` (EPERM without the right). */
export function mount(
  source: string,
  target: string,
  type: string,
  flags: number,
  data: string,
): void {
  mountCall(source, target, type, flags, data);
}

/**
 * Unmounts, on a worker thread: the kernel may have pages to write first, and this process may be
 * the one that serves them. `now` throws EBUSY while files are open; `detach` takes the mount out
 * of the tree and lets go of it when the last file closes.
 */
export async function unmount(target: string, how: "now" | "detach"): Promise<void> {
  await umountCall(target, UMOUNT_NOFOLLOW | (how === "detach" ? MNT_DETACH : 0));
}
