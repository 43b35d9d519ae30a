/** A FUSE session without a device: requests as bytes, answers as bytes. */
import { concatBytes } from "../../lib/bytes.ts";
import { viewOf } from "../../lib/codec.ts";
import { NullFs } from "../../bench/nullfs.ts";
import type { Vfs } from "../../logfs/core/vfs.ts";
import { OutHeader } from "../../logfs/export/fuse/abi.ts";
import type { Caching } from "../../logfs/export/fuse/context.ts";
import { SOLE_WRITER } from "../../logfs/export/fuse/serve.ts";
import { Session } from "../../logfs/export/fuse/session.ts";

const u16 = (value: number): number[] => [value & 0xff, value >>> 8];
export const u32 = (value: number): number[] => [...u16(value & 0xffff), ...u16(value >>> 16)];
export const u64 = (value: number): number[] => [
  ...u32(value >>> 0),
  ...u32(Math.floor(value / 2 ** 32)),
];
export const text = (value: string): number[] => [...Buffer.from(value), 0];

export interface HeaderFields {
  readonly opcode: number;
  readonly unique?: number;
  readonly node?: number;
  readonly pid?: number;
  readonly uid?: number;
}

/** A request as the kernel lays it out (fuse_in_header, then the body). */
export function request(header: HeaderFields, ...body: number[][]): Uint8Array {
  const rest = body.flat();
  return Uint8Array.from([
    ...u32(40 + rest.length), // len
    ...u32(header.opcode), // opcode
    ...u64(header.unique ?? 2), // unique
    ...u64(header.node ?? 1), // nodeid
    ...u32(header.uid ?? 1000), // uid
    ...u32(1000), // gid
    ...u32(header.pid ?? 77), // pid
    ...u16(0), // total_extlen
    ...u16(0), // padding
    ...rest,
  ]);
}

export interface Answer {
  readonly unique: number;
  readonly errno: number;
  readonly body: Uint8Array;
}

export class Harness {
  readonly answers: Answer[] = [];
  readonly log: string[] = [];
  readonly session: Session;
  /** What the kernel says of each answer. */
  wanted = true;
  dying = false;

  constructor(vfs: Vfs = new NullFs(), caching: Caching = SOLE_WRITER) {
    const note = (_fields: object, message: string) => void this.log.push(message);
    this.session = new Session(
      { vfs, caching },
      {
        send: (parts) => this.receive(concatBytes(parts)),
        groups: (pid) => [pid, 5],
        isDying: () => this.dying,
        log: { debug: note, info: note, warn: note, error: note },
      },
    );
  }

  /** The one answer to a request that is answered at once. */
  ask(header: HeaderFields, ...body: number[][]): Answer {
    return this.feed(request(header, ...body));
  }

  feed(bytes: Uint8Array): Answer {
    const before = this.answers.length;
    if (this.session.handle(bytes) !== undefined) throw new Error("answered later");
    const [answer, ...more] = this.answers.slice(before);
    if (answer === undefined || more.length > 0) throw new Error(`${more.length} more answers`);
    return answer;
  }

  /** A request that is not answered, or not now. */
  tell(header: HeaderFields, ...body: number[][]): Promise<void> | undefined {
    return this.session.handle(request(header, ...body));
  }

  private receive(bytes: Uint8Array): boolean {
    const { length, error, unique } = OutHeader.decode(viewOf(bytes), 0);
    if (length !== bytes.length) throw new Error(`length ${length} of ${bytes.length}`);
    if (this.wanted) this.answers.push({ unique, errno: Math.abs(error), body: bytes.slice(16) });
    return this.wanted;
  }
}

/** What the kernel of Linux 6.18 sends first: fuse_init_in, 64 bytes. */
export const initBody = (major: number, minor: number, flags = 0x73fffffb): number[][] => [
  u32(major), // major
  u32(minor), // minor
  u32(131072), // max_readahead
  u32(flags), // flags
  u32(0), // flags2
  Array.from({ length: 44 }, () => 0), // unused
];

export const createBody = (name: string): number[][] => [
  u32(0o101), // flags: O_WRONLY | O_CREAT
  u32(0o100644), // mode
  u32(0o022), // umask
  u32(0), // open_flags
  text(name),
];

/** fuse_write_in and data; the offset is 0. */
export const writeBody = (
  handle: number,
  flags: number,
  data: number[],
  writeFlags = 0,
): number[][] => [
  u64(handle), // fh
  u64(0), // offset
  u32(data.length), // size
  u32(writeFlags), // write_flags
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // lock_owner: all 64 bits
  u32(flags), // flags
  u32(0), // padding
  data,
];

/** fuse_setattr_in, 88 bytes. */
export function setattrBody(
  valid: number,
  set: { mode?: number; uid?: number; mtime?: number; size?: number },
) {
  return [
    u32(valid), // valid
    u32(0), // padding
    u64(0), // fh
    u64(set.size ?? 0), // size
    [9, 9, 9, 9, 9, 9, 9, 0xff], // lock_owner
    u64(0), // atime
    u64(set.mtime ?? 0), // mtime
    u64(0), // ctime
    u32(0), // atimensec
    u32(999_999_999), // mtimensec
    u32(0), // ctimensec
    u32(set.mode ?? 0), // mode
    u32(0), // unused4
    u32(set.uid ?? 0), // uid
    u32(0), // gid
    u32(0), // unused5
  ];
}
