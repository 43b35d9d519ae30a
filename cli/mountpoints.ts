/** Which store is mounted where: a store's path is its mounts' source. */
import { resolve } from "node:path";
import { type MountEntry, mounts } from "../sys/mountinfo.ts";

function smfsMounts(): MountEntry[] {
  return mounts().filter(({ type }) => type === "fuse.smfs");
}

/** The store that is meant: what is mounted there, or else the path itself. */
export function storeOf(path: string): string {
  const wanted = resolve(path);
  return smfsMounts().findLast(({ mountpoint }) => mountpoint === wanted)?.source ?? wanted;
}

/** Where the store is mounted; also when the mount point itself is given. undefined: nowhere. */
export function mountPointOf(path: string): string | undefined {
  const wanted = resolve(path);
  const isMeant = ({ source, mountpoint }: MountEntry): boolean =>
    mountpoint === wanted || source === wanted;
  return smfsMounts().findLast(isMeant)?.mountpoint;
}
