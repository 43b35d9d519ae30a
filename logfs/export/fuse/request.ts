/**
 * One request of the kernel, decoded as far as its header. `take` and `takeName` then read the
 * body from front to back; a body that is too short, a name that does not end and a number past
 * 2^53 are EINVAL to whoever asked.
 */
import { viewOf, type Struct } from "../../../lib/codec.ts";
import { FsError, SmfsError, fail } from "../../../lib/errors.ts";
import { NAME_MAX, type Caller } from "../../core/vfs.ts";
import { InHeader } from "./abi.ts";

const SLASH = 0x2f;

export class Request implements Caller {
  readonly opcode: number;
  readonly unique: number;
  readonly node: number;
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  private readonly source: Uint8Array;
  private readonly view: DataView;
  private readonly groupsOf: (pid: number) => readonly number[];
  private position = InHeader.size;

  /** Throws `SmfsError` SHORT or DAMAGED when there is no whole header. */
  constructor(source: Uint8Array, groupsOf: (pid: number) => readonly number[]) {
    this.source = source;
    this.view = viewOf(source);
    this.groupsOf = groupsOf;
    const header = InHeader.decode(this.view, 0);
    this.opcode = header.opcode;
    this.unique = header.unique;
    this.node = header.node;
    this.uid = header.uid;
    this.gid = header.gid;
    this.pid = header.pid;
  }

  groups(): readonly number[] {
    return this.pid === 0 ? [] : this.groupsOf(this.pid);
  }

  /** Whether the header's length is the length that arrived. */
  get isWhole(): boolean {
    return this.view.getUint32(0, true) === this.source.length;
  }

  take<T>(layout: Struct<T>): T {
    try {
      const value = layout.decode(this.view, this.position);
      this.position += layout.size;
      return value;
    } catch (error) {
      if (error instanceof SmfsError) throw new FsError("EINVAL", error.message);
      throw error;
    }
  }

  /** A name of a directory entry. */
  takeName(): Uint8Array {
    const name = this.takeText();
    if (name.length > NAME_MAX) fail("ENAMETOOLONG");
    if (name.length === 0 || name.includes(SLASH)) fail("EINVAL");
    return name;
  }

  /** Bytes up to the next NUL, which is passed over. */
  takeText(): Uint8Array {
    const end = this.source.indexOf(0, this.position);
    if (end < 0) fail("EINVAL");
    const text = this.source.subarray(this.position, end);
    this.position = end + 1;
    return text;
  }

  takeBytes(length: number): Uint8Array {
    const end = this.position + length;
    if (end > this.source.length) fail("EINVAL");
    const taken = this.source.subarray(this.position, end);
    this.position = end;
    return taken;
  }
}
