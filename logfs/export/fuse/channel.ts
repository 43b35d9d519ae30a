/**
 * The device between the kernel and a session.
 *
 * libuv cannot watch /dev/fuse, so: take requests without waiting until there are none, linger for
 * the next, then wait on a thread of libuv's pool (which `cli/smfs` makes large enough for that).
 * Answers are written at once from the event loop. Several blocking reads in that pool instead are
 * 2.5 times slower with four clients, and cannot be ended.
 *
 * - After `REQUESTS_PER_TURN` the rest of the process (disk, network) has its turn.
 * - A small request is copied to memory of its own; a large one (WRITE) keeps the read buffer until
 *   it is answered. At most `MAX_LARGE_BUFFERS` are kept: then no more is read until one is free.
 */
import { closeSync, writeSync, writevSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import type { Logger } from "../../../lib/ports.ts";
import { SystemError } from "../../../sys/libc.ts";
import { readNow, readinessOf } from "../../../sys/device.ts";
import { REQUEST_BUFFER_BYTES } from "./abi.ts";

const REQUESTS_PER_TURN = 32;
const SMALL_REQUEST_BYTES = 64 * 1024;
/** With 1 MiB each this bounds what waiting writers cost; ordinary traffic needs two or three. */
const MAX_LARGE_BUFFERS = 64;
/**
 * A client's next request comes some 20 µs after its answer, and waking up for it from a wait costs
 * 60 µs: for this long we look again, a turn of the event loop at a time. Measured with one client:
 * twice the creates and three times the 4 KiB writes per second.
 */
const LINGER_MILLIS = 0.05;
/** How long a wait goes on before looking whether the channel was closed. */
const WAIT_MILLIS = 500;

/** Handles one request; a promise keeps the bytes until it resolves. */
export type Handler = (request: Uint8Array) => Promise<void> | undefined;

export class Channel {
  private readonly fd: number;
  private readonly log: Logger;
  private readonly wait: (timeoutMillis: number) => Promise<unknown>;
  private readonly free: Uint8Array[] = [];
  private buffers = 0;
  /** Wakes whoever waits for a buffer. */
  private resume: () => void = () => {};
  private closed = false;
  /** The descriptor is closed: its number may be another file's by now. */
  private ended = false;

  /** `fd` is an O_NONBLOCK descriptor of /dev/fuse that is mounted; `close` closes it. */
  constructor(fd: number, log: Logger) {
    this.fd = fd;
    this.log = log;
    this.wait = readinessOf(fd);
  }

  /** Serves until the file system is unmounted, the connection aborted or `close` called. */
  async serve(handler: Handler): Promise<void> {
    let lingerUntil = 0;
    try {
      while (!this.closed) {
        if (await this.serveTurn(handler)) lingerUntil = performance.now() + LINGER_MILLIS;
        if (performance.now() < lingerUntil) await setImmediate();
        else await this.wait(WAIT_MILLIS);
      }
    } catch (error) {
      if (!isGone(error)) throw error;
    } finally {
      this.ended = true;
      closeSync(this.fd);
    }
  }

  /** Ends `serve`, and with it the connection: whoever still uses the mount gets ENOTCONN. */
  close(): void {
    this.closed = true;
    this.resume();
  }

  /** Sends one answer; false when the kernel has given the request up, or the connection is gone. */
  send(parts: Uint8Array[]): boolean {
    if (this.ended) return false;
    try {
      const [only] = parts;
      if (parts.length === 1 && only !== undefined) writeSync(this.fd, only);
      else writevSync(this.fd, parts);
      return true;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== "ENOENT" && !isGone(error)) this.log.error({ err: error }, "FUSE reply refused");
      return false;
    }
  }

  /** Handles what is there, up to a turn's share; true when there was anything. */
  private async serveTurn(handler: Handler): Promise<boolean> {
    for (let handled = 0; handled < REQUESTS_PER_TURN; handled++) {
      const buffer = this.takeBuffer();
      if (buffer === undefined) {
        await this.nextFreeBuffer();
        return true;
      }
      const length = this.readInto(buffer);
      if (length === 0) {
        this.free.push(buffer);
        return handled > 0;
      }
      this.dispatch(handler, buffer, length);
    }
    return true;
  }

  private readInto(buffer: Uint8Array): number {
    try {
      return readNow(this.fd, buffer);
    } catch (error) {
      // The caller was interrupted before we took its request: there may be others.
      if (error instanceof SystemError && error.code === "ENOENT") return 0;
      this.free.push(buffer);
      throw error;
    }
  }

  private dispatch(handler: Handler, buffer: Uint8Array, length: number): void {
    if (length <= SMALL_REQUEST_BYTES) {
      const own = Buffer.allocUnsafe(length);
      own.set(buffer.subarray(0, length));
      this.free.push(buffer);
      void handler(own);
      return;
    }
    const later = handler(buffer.subarray(0, length));
    if (later === undefined) this.free.push(buffer);
    else void later.finally(() => this.giveBack(buffer));
  }

  private takeBuffer(): Uint8Array | undefined {
    const buffer = this.free.pop();
    if (buffer !== undefined || this.buffers === MAX_LARGE_BUFFERS) return buffer;
    this.buffers++;
    return Buffer.allocUnsafeSlow(REQUEST_BUFFER_BYTES);
  }

  private nextFreeBuffer(): Promise<void> {
    return new Promise((freed) => {
      this.resume = freed;
    });
  }

  private giveBack(buffer: Uint8Array): void {
    this.free.push(buffer);
    this.resume();
  }
}

/** Unmounted (ENODEV) or aborted (ECONNABORTED). */
function isGone(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return code === "ENODEV" || code === "ECONNABORTED";
}
