/**
 * A row of messages in native memory, for recvmmsg(2) and sendmmsg(2): each with its header, a slot
 * for its bytes and one for the peer's address. Nothing is allocated after it was made.
 */
import { viewOf } from "../lib/codec.ts";
import { SmfsError } from "../lib/errors.ts";
import { declareRaw, type NativeMemory, nativeMemory } from "./libc.ts";
import { BatchHeader, Iovec } from "./message.ts";
import { MAX_SOCKADDR_BYTES } from "./sockaddr.ts";

/** include/linux/socket.h */
const MSG_DONTWAIT = 0x40;

const NAME_BYTES_AT = BatchHeader.offsetOf("nameBytes");
const CONTROL_AT = BatchHeader.offsetOf("control");
const CONTROL_BYTES_AT = BatchHeader.offsetOf("controlBytes");
const LENGTH_AT = BatchHeader.offsetOf("length");

const recvmmsg = declareRaw(
  "recvmmsg",
  "int recvmmsg(int fd, uintptr_t messages, unsigned int count, int flags, void *timeout)",
);

export class MessageRow {
  readonly count: number;
  readonly slotBytes: number;
  readonly headers: NativeMemory;
  readonly view: DataView;
  readonly parts: DataView;
  readonly data: Uint8Array;
  readonly names: NativeMemory;
  readonly partMemory: NativeMemory;
  private controlBytes = 0;

  constructor(count: number, slotBytes: number) {
    if (process.arch !== "x64" && process.arch !== "arm64") {
      throw new SmfsError("UNSUPPORTED", `no mmsghdr for ${process.arch}`);
    }
    this.count = count;
    this.slotBytes = slotBytes;
    this.headers = nativeMemory(count * BatchHeader.size);
    const parts = nativeMemory(count * Iovec.size);
    const data = nativeMemory(count * slotBytes);
    const names = nativeMemory(count * MAX_SOCKADDR_BYTES);
    this.view = viewOf(this.headers.bytes);
    this.parts = viewOf(parts.bytes);
    this.data = data.bytes;
    this.names = names;
    this.partMemory = parts;
    for (let i = 0; i < count; i++) {
      const base = data.address + i * slotBytes;
      Iovec.encode(this.parts, i * Iovec.size, { base, length: slotBytes });
      BatchHeader.encode(this.view, i * BatchHeader.size, {
        name: names.address + i * MAX_SOCKADDR_BYTES,
        nameBytes: MAX_SOCKADDR_BYTES,
        parts: parts.address + i * Iovec.size,
        partCount: 1,
        control: 0,
        controlBytes: 0,
        flags: 0,
        length: 0,
      });
    }
  }

  /** As many messages as wait; 0 when none does, or the socket reports an error. */
  receive(fd: number): number {
    for (let i = 0; i < this.count; i++) this.reset(i);
    return Math.max(0, recvmmsg(fd, this.headers.address, this.count, MSG_DONTWAIT, null));
  }

  /** Room for control messages; `address` 0 takes it away. */
  setControl(i: number, address: number, bytes: number): void {
    this.controlBytes = bytes;
    const at = i * BatchHeader.size + CONTROL_AT;
    this.view.setUint32(at, address >>> 0, true);
    this.view.setUint32(at + 4, Math.floor(address / 2 ** 32), true);
  }

  /** The peer of message `i`, as the kernel gave it. */
  name(i: number): Uint8Array {
    const at = i * MAX_SOCKADDR_BYTES;
    const length = this.view.getUint32(i * BatchHeader.size + NAME_BYTES_AT, true);
    return this.names.bytes.subarray(at, at + length);
  }

  length(i: number): number {
    return this.view.getUint32(i * BatchHeader.size + LENGTH_AT, true);
  }

  /** The kernel leaves the lengths that it used. */
  private reset(i: number): void {
    const at = i * BatchHeader.size;
    this.view.setUint32(at + NAME_BYTES_AT, MAX_SOCKADDR_BYTES, true);
    this.view.setUint32(at + CONTROL_BYTES_AT, this.controlBytes, true);
  }
}
