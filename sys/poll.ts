/**
 * Waiting for descriptors on the thread that asks (ppoll(2)), to the microsecond: for data-plane
 * workers, whose thread has nothing else to do. Never on a thread that runs an event loop. No wait is
 * longer than `LONGEST_WAIT_MICROS`: Node ends a thread between system calls only, and a process that
 * exits waits for its threads.
 *
 * A thread that waits here hears no messages of `worker_threads`: another thread rings a `Bell`
 * (eventfd(2)) that is among the descriptors, and the worker then takes what is in its port with
 * `receiveMessageOnPort`.
 */
import { closeSync } from "node:fs";
import { assert } from "../lib/assert.ts";
import { i32, i64, struct, u16, viewOf } from "../lib/codec.ts";
import { ERRNO } from "../lib/errno.ts";
import {
  declare,
  declareRaw,
  lastErrno,
  type NativeMemory,
  nativeMemory,
  SystemError,
} from "./libc.ts";
import { readInPlace, writeInPlace } from "./device.ts";

/** include/uapi/asm-generic/poll.h */
const POLLIN = 0x01;
const POLLOUT = 0x04;

const PollEntry = struct("pollfd", {
  fd: i32("descriptor"),
  events: u16("asked for"),
  revents: u16("there now"),
});
const Timespec = struct("timespec", { seconds: i64("s"), nanoseconds: i64("ns") });
const EVENTS_AT = PollEntry.offsetOf("events");
const REVENTS_AT = PollEntry.offsetOf("revents");

const ppoll = declareRaw(
  "ppoll",
  "int ppoll(uintptr_t entries, unsigned long count, uintptr_t timeout, void *mask)",
);

const LONGEST_WAIT_MICROS = 500_000;

/** `both`: readable, or writable again. */
export type Interest = "read" | "both" | "nothing";

const EVENTS: Readonly<Record<Interest, number>> = {
  read: POLLIN,
  both: POLLIN | POLLOUT,
  nothing: 0,
};

/** A fixed row of descriptors, told apart by their place in it. */
export class PollSet {
  private readonly entries: NativeMemory;
  private readonly entryView: DataView;
  private readonly timeout: NativeMemory;
  private readonly timeoutView: DataView;
  private readonly count: number;

  /** All are waited for to be readable, until `watch` says otherwise. */
  constructor(descriptors: readonly number[]) {
    this.count = descriptors.length;
    this.entries = nativeMemory(this.count * PollEntry.size);
    this.entryView = viewOf(this.entries.bytes);
    this.timeout = nativeMemory(Timespec.size);
    this.timeoutView = viewOf(this.timeout.bytes);
    for (const [i, fd] of descriptors.entries()) {
      PollEntry.encode(this.entryView, i * PollEntry.size, { fd, events: POLLIN, revents: 0 });
    }
  }

  watch(place: number, interest: Interest): void {
    this.entryView.setUint16(this.at(place) + EVENTS_AT, EVENTS[interest], true);
  }

  /**
   * Waits until a descriptor has what is asked of it, or for `timeoutMicros`, or half a second. Gives
   * how many have: 0 when the time is over, or a signal came. Whoever waits for longer waits again.
   */
  wait(timeoutMicros: number): number {
    this.setTimeout(Math.min(timeoutMicros, LONGEST_WAIT_MICROS));
    const ready = ppoll(this.entries.address, this.count, this.timeout.address, null);
    if (ready >= 0) return ready;
    if (lastErrno() !== ERRNO.EINTR) throw new SystemError("ppoll", lastErrno());
    for (let i = 0; i < this.count; i++) this.entryView.setUint16(this.at(i) + REVENTS_AT, 0, true);
    return 0;
  }

  isReadable(place: number): boolean {
    return (this.found(place) & POLLIN) !== 0;
  }

  private found(place: number): number {
    return this.entryView.getUint16(this.at(place) + REVENTS_AT, true);
  }

  private at(place: number): number {
    assert(place >= 0 && place < this.count, "a place in the row");
    return place * PollEntry.size;
  }

  private setTimeout(micros: number): void {
    const nanoseconds = Math.max(0, Math.ceil(micros)) * 1000;
    Timespec.encode(this.timeoutView, 0, { seconds: 0, nanoseconds });
  }
}

const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;
const eventfd = declare("eventfd", "int eventfd(unsigned int initial, int flags)");

/** Wakes the thread that has `fd` in its `PollSet`; any thread of the process may ring it. */
export class Bell {
  readonly fd: number;
  private readonly counter = nativeMemory(8);

  /** `fd` of a bell that another thread made; a new one without. */
  constructor(fd: number = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    this.fd = fd;
  }

  ring(): void {
    viewOf(this.counter.bytes).setUint32(0, 1, true);
    const errno = writeInPlace(this.fd, this.counter, 0, 8);
    // A counter that is full rings as well.
    if (errno !== 0 && errno !== ERRNO.EAGAIN) throw new SystemError("write", errno);
  }

  /** Whether it was rung since the last time. */
  quiet(): boolean {
    return readInPlace(this.fd, this.counter, 0, 8) > 0;
  }

  /** For the thread that made it, when nobody waits any more. */
  close(): void {
    closeSync(this.fd);
  }
}
