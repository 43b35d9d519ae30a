/**
 * Network namespaces with names, as ip-netns(8) keeps them: /run/netns/NAME.
 *
 * setns(2) moves one thread. So what is to be opened in another namespace is opened inside
 * `inNamespace`, synchronously: the descriptor stays there when the thread is back, and any thread
 * may use it. A `node:dgram` socket is made when it is bound, perhaps some turns of the event loop
 * later: make the socket with `udp-socket.ts` and hand Node its descriptor (`bind({ fd })`).
 */
import { closeSync, openSync } from "node:fs";
import { assert } from "../lib/assert.ts";
import { messageOf, SmfsError } from "../lib/errors.ts";
import { declare, SystemError } from "./libc.ts";

const DIRECTORY = "/run/netns";
const OWN = "/proc/thread-self/ns/net";
/** include/uapi/linux/sched.h */
const CLONE_NEWNET = 0x40000000;

const setns = declare("setns", "int setns(int fd, int type)");

/**
 * What `body` gives, run with this thread in the namespace `name`, or where it is for null. Throws
 * `SmfsError` NOT_FOUND, NOT_PERMITTED or UNSUPPORTED.
 */
export function inNamespace<T>(name: string | null, body: () => T): T {
  if (name === null) return body();
  const target = openNamespace(name);
  try {
    const home = openSync(OWN, "r");
    try {
      enter(target, name);
      return leaving(home, body);
    } finally {
      closeSync(home);
    }
  } finally {
    closeSync(target);
  }
}

/** A thread that cannot come back must not go on: setns failing here is a crash. */
function leaving<T>(home: number, body: () => T): T {
  try {
    const result = body();
    assert(!(result instanceof Promise), "a thread does not stay in a namespace across an await");
    return result;
  } finally {
    setns(home, CLONE_NEWNET);
  }
}

function openNamespace(name: string): number {
  if (process.platform !== "linux") {
    throw new SmfsError("UNSUPPORTED", "network namespaces need Linux");
  }
  if (!isNamespaceName(name)) {
    throw new SmfsError("USAGE", `'${name}' is no name for a network namespace`);
  }
  try {
    return openSync(`${DIRECTORY}/${name}`, "r");
  } catch (error) {
    const missing = /ENOENT/.test(messageOf(error));
    const message = missing
      ? `there is no network namespace ${name} (ip netns add ${name})`
      : `the network namespace ${name} cannot be opened: ${messageOf(error)}`;
    throw new SmfsError(missing ? "NOT_FOUND" : "NOT_PERMITTED", message, error);
  }
}

/** What ip-netns(8) takes, and no option or path. */
export function isNamespaceName(name: string): boolean {
  return /^[A-Za-z0-9_][\w.:-]{0,63}$/.test(name);
}

function enter(target: number, name: string): void {
  try {
    setns(target, CLONE_NEWNET);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (error.code === "EPERM") {
      const message = `entering the network namespace ${name} needs root (CAP_SYS_ADMIN)`;
      throw new SmfsError("NOT_PERMITTED", message, error);
    }
    throw new SmfsError("NOT_FOUND", `${DIRECTORY}/${name} is no network namespace`, error);
  }
}
