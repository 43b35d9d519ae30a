/**
 * One connection with the kernel, without the device: `handle` takes a request's bytes, answers go
 * out through `send`.
 *
 * - A request that the file system answers at once is answered before `handle` returns.
 * - Each request is answered exactly once, except FORGET, BATCH_FORGET and INTERRUPT, never.
 * - Nothing that the kernel sends, and nothing that the file system throws, gets past `handle`:
 *   every failure becomes an errno.
 */
import { FsError, messageOf, toErrno } from "../../../lib/errors.ts";
import { ERRNO } from "../../../lib/errno.ts";
import type { Logger } from "../../../lib/ports.ts";
import type { Vfs } from "../../core/vfs.ts";
import { BatchForgetIn, ForgetIn, ForgetOne, InterruptIn, OPCODES } from "./abi.ts";
import type { Caching, Context, Operation } from "./context.ts";
import { Holdings } from "./holdings.ts";
import { Reply } from "./reply.ts";
import { Request } from "./request.ts";
import { rowOf } from "./requests/table.ts";
import { newStatistics, type FuseStatistics } from "./statistics.ts";

export interface SessionPorts {
  /** Sends one answer; false when the kernel does not want it (any more). */
  send(parts: Uint8Array[]): boolean;
  /** Supplementary groups of a thread. */
  groups(pid: number): readonly number[];
  /** Whether a thread has been killed and only waits for us. */
  isDying(pid: number): boolean;
  readonly log: Logger;
}

export interface SessionOptions {
  readonly vfs: Vfs;
  readonly caching: Caching;
}

/** A request whose answer comes later. */
interface Pending {
  readonly request: Request;
  abandoned: boolean;
}

export class Session {
  readonly statistics: FuseStatistics = newStatistics();
  private readonly ports: SessionPorts;
  private readonly context: Context;
  private readonly reply = new Reply();
  private readonly pending = new Map<number, Pending>();

  constructor(options: SessionOptions, ports: SessionPorts) {
    this.ports = ports;
    const holdings = new Holdings(options.vfs, (error) => this.noteFailure("give back", error));
    const connection = { minor: 0, flags: 0 };
    this.context = { ...options, holdings, connection, statistics: this.statistics };
  }

  /** What INIT agreed on; minor 0 before it. */
  get connection(): Readonly<Context["connection"]> {
    return this.context.connection;
  }

  /** A promise when the answer comes later: `bytes` must stay as they are until then. */
  handle(bytes: Uint8Array): Promise<void> | undefined {
    const request = this.decode(bytes);
    if (request === undefined) return;
    const row = rowOf(request.opcode);
    if (row === undefined) {
      this.statistics.unknownRequests++;
      return this.answerError(request, ERRNO.ENOSYS);
    }
    this.statistics.requests[row.name]++;
    if (this.handleNotice(request)) return;
    if (row.operation === undefined) return this.answerError(request, ERRNO.ENOSYS);
    return this.run(row.operation, request);
  }

  /** The kernel has gone: lets go of all that it held. */
  close(): void {
    this.context.holdings.giveBackAll();
  }

  private decode(bytes: Uint8Array): Request | undefined {
    try {
      const request = new Request(bytes, (pid) => this.ports.groups(pid));
      if (request.isWhole) return request;
      this.statistics.malformedRequests++;
      return this.answerError(request, ERRNO.EINVAL);
    } catch (error) {
      // Without a header there is nobody to answer.
      this.statistics.malformedRequests++;
      this.ports.log.warn({ reason: messageOf(error) }, "a FUSE request has no header");
      return undefined;
    }
  }

  private run(operation: Operation<unknown>, request: Request): Promise<void> | undefined {
    try {
      const result = operation.run(this.context, request);
      if (result instanceof Promise) return this.runLater(operation, request, result);
      return this.answer(operation, request, result);
    } catch (error) {
      return this.fail(request, error);
    }
  }

  private async runLater(
    operation: Operation<unknown>,
    request: Request,
    result: Promise<unknown>,
  ): Promise<void> {
    const pending = { request, abandoned: false };
    this.pending.set(request.unique, pending);
    this.statistics.inFlight++;
    try {
      this.answer(operation, request, await result, pending);
    } catch (error) {
      if (!pending.abandoned) this.fail(request, error);
    } finally {
      this.pending.delete(request.unique);
      this.statistics.inFlight--;
    }
  }

  private answer(
    operation: Operation<unknown>,
    request: Request,
    result: unknown,
    pending?: Pending,
  ): undefined {
    this.reply.reset();
    operation.encode?.(this.context, this.reply, result, request);
    const wanted = pending?.abandoned !== true && this.send(request, 0);
    if (!wanted) operation.undo?.(this.context, result);
  }

  private fail(request: Request, error: unknown): undefined {
    if (!(error instanceof FsError)) this.noteFailure(String(request.opcode), error);
    this.answerError(request, toErrno(error));
  }

  private noteFailure(what: string, error: unknown): void {
    this.statistics.failures++;
    this.ports.log.error({ opcode: what, err: error }, `FUSE request failed: ${messageOf(error)}`);
  }

  private answerError(request: Request, errno: number): undefined {
    this.statistics.errors++;
    this.reply.reset();
    this.send(request, errno);
  }

  private send(request: Request, errno: number): boolean {
    const wanted = this.ports.send(this.reply.parts(request.unique, errno));
    if (!wanted) this.statistics.unwantedReplies++;
    return wanted;
  }

  /** Requests without an answer; true when it was one. What is malformed in them has no effect. */
  private handleNotice(request: Request): boolean {
    try {
      switch (request.opcode) {
        case OPCODES.FORGET:
          this.context.holdings.forget(request.node, request.take(ForgetIn).lookups);
          return true;
        case OPCODES.BATCH_FORGET:
          this.forgetBatch(request);
          return true;
        case OPCODES.INTERRUPT:
          this.interrupt(request.take(InterruptIn).unique);
          return true;
        default:
          return false;
      }
    } catch (error) {
      this.statistics.malformedRequests++;
      this.ports.log.warn({ reason: messageOf(error) }, "a FUSE notice is malformed");
      return true;
    }
  }

  private forgetBatch(request: Request): void {
    const { count } = request.take(BatchForgetIn);
    for (let i = 0; i < count; i++) {
      const { node, lookups } = request.take(ForgetOne);
      this.context.holdings.forget(node, lookups);
    }
  }

  /**
   * A signal hit a caller that waits. A killed one is let go (it would wait in the kernel,
   * unkillable, until the answer); others keep waiting, because an operation that may have
   * happened must not look as if it had not.
   */
  private interrupt(unique: number): void {
    const pending = this.pending.get(unique);
    if (pending === undefined || pending.abandoned) return;
    const { pid } = pending.request;
    if (pid === 0 || !this.ports.isDying(pid)) return;
    pending.abandoned = true;
    this.statistics.interrupted++;
    this.answerError(pending.request, ERRNO.EINTR);
  }
}
