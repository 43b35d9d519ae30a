/** What every operation sees: the file system, the kernel's state as far as we keep it, and how an operation is written. */
import type { MaybePromise, Vfs } from "../../core/vfs.ts";
import type { Holdings } from "./holdings.ts";
import type { Reply } from "./reply.ts";
import type { Request } from "./request.ts";
import type { FuseStatistics } from "./statistics.ts";

/** How long the kernel may believe an answer without asking again. */
export interface Caching {
  /** Names, and names that are not there; milliseconds. */
  readonly entryMillis: number;
  readonly attributesMillis: number;
  /**
   * `kept`: only this mount changes the file system, so cached data stays good. `checked`: others
   * change it too (the mirror), so the kernel drops a file's pages when its time or size changed.
   */
  readonly data: "kept" | "checked";
}

/** Agreed on by INIT. */
interface Connection {
  minor: number;
  flags: number;
}

export interface Context {
  readonly vfs: Vfs;
  readonly holdings: Holdings;
  readonly caching: Caching;
  readonly connection: Connection;
  readonly statistics: FuseStatistics;
}

/**
 * One opcode. `run` starts the call and may answer at once; when the result is there, `encode`
 * fills the reply, which is sent in the same step (file data belongs to the `Vfs`).
 */
export interface Operation<T> {
  run(context: Context, request: Request): MaybePromise<T>;
  encode?(context: Context, reply: Reply, result: T, request: Request): void;
  /** Takes back what `encode` counted or `run` opened, when the kernel no longer wants the answer. */
  undo?(context: Context, result: T): void;
}

/** Checks an operation's types against each other, and forgets them for the table. */
export function operation<T>(typed: Operation<T>): Operation<unknown> {
  return typed;
}
