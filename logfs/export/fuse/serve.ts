/** A `Vfs` as a mounted file system of this machine: mount, session and channel put together. */
import { messageOf } from "../../../lib/errors.ts";
import type { Logger } from "../../../lib/ports.ts";
import { isDying, supplementaryGroups } from "../../../sys/process.ts";
import type { Vfs } from "../../core/vfs.ts";
import { Channel } from "./channel.ts";
import type { Caching } from "./context.ts";
import { mountFuse, type FuseMount, type MountOptions } from "./mount.ts";
import { Session } from "./session.ts";
import type { FuseStatistics } from "./statistics.ts";

/** The only writer of a file system: what the kernel has seen stays true until it changes it itself. */
export const SOLE_WRITER: Caching = { entryMillis: 60_000, attributesMillis: 60_000, data: "kept" };
/** The file system changes by itself (a mirror that follows): the kernel asks every time. */
export const FOLLOWER: Caching = { entryMillis: 0, attributesMillis: 0, data: "checked" };

export interface FuseServer {
  /** Without symbolic links. */
  readonly mountpoint: string;
  readonly statistics: FuseStatistics;
  /** Resolves when the mount is gone, whoever unmounted it; rejects when the device failed. */
  readonly ended: Promise<void>;
  /**
   * Unmounts and waits for the end. With files open the mount is detached and its connection cut:
   * they get ENOTCONN.
   */
  unmount(): Promise<void>;
}

/** Throws `SmfsError` with what to do when the mount is refused. */
export async function serveFuse(
  vfs: Vfs,
  options: MountOptions & { readonly caching: Caching },
  log: Logger,
): Promise<FuseServer> {
  const mounted = await mountFuse(options);
  const channel = new Channel(mounted.fd, log);
  const session = new Session(
    { vfs, caching: options.caching },
    { send: (parts) => channel.send(parts), groups: supplementaryGroups, isDying, log },
  );
  const ended = channel.serve((request) => session.handle(request)).finally(() => session.close());
  // Whoever does not ask is told by the log; `ended` still rejects for those who do.
  ended.catch((error: unknown) => log.error({ err: error }, `FUSE device: ${messageOf(error)}`));
  return {
    mountpoint: mounted.mountpoint,
    statistics: session.statistics,
    ended,
    unmount: () => end(mounted, channel, ended),
  };
}

async function end(mounted: FuseMount, channel: Channel, ended: Promise<void>): Promise<void> {
  await mounted.unmount();
  channel.close();
  await ended;
}
