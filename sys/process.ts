/** What /proc tells about another process (proc_pid_status(5)). */
import { readFileSync } from "node:fs";
import { messageOf } from "../lib/errors.ts";

const SIGKILL_BIT = 1n << 8n;

/** Supplementary groups of a process or thread; none when it is gone. */
export function supplementaryGroups(pid: number): readonly number[] {
  const field = statusField(pid, "Groups");
  return field === undefined ? [] : (field.match(/\d+/g) ?? []).map(Number);
}

/**
 * Whether the thread has been killed and cannot go on. The kernel turns every fatal signal into a
 * pending SIGKILL of each thread (kernel/signal.c, complete_signal). True when it is gone.
 */
export function isDying(pid: number): boolean {
  const field = statusField(pid, "SigPnd");
  return field === undefined || (BigInt(`0x${field}`) & SIGKILL_BIT) !== 0n;
}

function statusField(pid: number, name: string): string | undefined {
  const status = readStatus(pid);
  return new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)?.[1]?.trim();
}

function readStatus(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "latin1");
  } catch (error) {
    if (/ENOENT|ESRCH/.test(messageOf(error))) return "";
    throw error;
  }
}
