/** The mounts that this process sees (proc_pid_mountinfo(5)). */
import { readFileSync } from "node:fs";

export interface MountEntry {
  /** Where it is mounted, as an absolute path without symbolic links. */
  readonly mountpoint: string;
  /** Major and minor number of its device, as "0:42". */
  readonly device: string;
  readonly type: string;
  /** What is mounted, as the file system names it. */
  readonly source: string;
}

export function mounts(): MountEntry[] {
  return parseMountinfo(readFileSync("/proc/self/mountinfo", "utf8"));
}

/** The newest mount at a path (which hides the others), if there is one. */
export function mountAt(path: string): MountEntry | undefined {
  return mounts().findLast((entry) => entry.mountpoint === path);
}

export function parseMountinfo(text: string): MountEntry[] {
  return text.split("\n").flatMap((line) => {
    const [before, after] = line.split(" - ");
    const [, , device, , mountpoint] = before?.split(" ") ?? [];
    const [type, source] = after?.split(" ") ?? [];
    if (device === undefined || mountpoint === undefined) return [];
    if (type === undefined || source === undefined) return [];
    return [{ mountpoint: unescape(mountpoint), device, type, source: unescape(source) }];
  });
}

/** Space, tab, newline and backslash are written as three octal digits. */
function unescape(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}
