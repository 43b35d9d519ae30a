/** Requests that are not what the protocol says: each is answered, none does harm. */
import { fc } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import { ERRNO } from "../../lib/errno.ts";
import { NullFs } from "../../bench/nullfs.ts";
import * as abi from "../../logfs/export/fuse/abi.ts";
import {
  createBody,
  Harness,
  initBody,
  request,
  setattrBody,
  text,
  u32,
  u64,
  writeBody,
} from "./fuse-harness.ts";

const { OPCODES } = abi;

describe("what goes wrong", () => {
  it("ABugInTheFileSystemIsEIOAndIsLoggedAndCounted", () => {
    class Broken extends NullFs {
      override getattr(): never {
        throw new TypeError("a bug");
      }
    }
    const harness = new Harness(new Broken());
    const { errno } = harness.ask({ opcode: OPCODES.GETATTR }, u32(0), u32(0), u64(0));
    expect(errno).toBe(ERRNO.EIO);
    expect(harness.session.statistics.failures).toBe(1);
    expect(harness.log.join()).toContain("a bug");
  });

  it("AnUnknownOpcodeIsENOSYS", () => {
    const harness = new Harness();
    expect(harness.ask({ opcode: 4711 }).errno).toBe(ERRNO.ENOSYS);
    expect(harness.session.statistics.unknownRequests).toBe(1);
  });

  it("AHeaderWhoseLengthIsNotWhatArrivedIsEINVAL", () => {
    const bytes = request({ opcode: OPCODES.LOOKUP }, text("name"));
    expect(new Harness().feed(bytes.subarray(0, bytes.length - 1)).errno).toBe(ERRNO.EINVAL);
  });

  it("AnythingShorterThanAHeaderIsCountedAndNotAnswered", () => {
    const harness = new Harness();
    for (let length = 0; length < abi.InHeader.size; length++) {
      void harness.session.handle(new Uint8Array(length));
    }
    expect(harness.answers).toEqual([]);
    expect(harness.session.statistics.malformedRequests).toBe(40);
  });

  it("EveryTruncatedRequestIsEINVALAndNothingElse", () => {
    const whole: [number, number[][]][] = [
      [OPCODES.INIT, [initBody(7, 45).flat().slice(0, 16)]],
      [OPCODES.LOOKUP, [text("name")]],
      [OPCODES.MKNOD, [u32(0o100644), u32(0), u32(0), u32(0), text("n")]],
      [OPCODES.RENAME2, [u64(1), u32(0), u32(0), text("a"), text("b")]],
      [OPCODES.LINK, [u64(2), text("b")]],
      [OPCODES.SYMLINK, [text("a"), text("target")]],
      [OPCODES.CREATE, createBody("c")],
      [OPCODES.SETATTR, setattrBody(abi.FATTR.MODE, { mode: 0o600 })],
      [OPCODES.WRITE, writeBody(1, 0, [1, 2, 3])],
      [OPCODES.READ, writeBody(1, 0, [])],
      [OPCODES.FALLOCATE, [u64(1), u64(0), u64(1), u32(0), u32(0)]],
      [OPCODES.LSEEK, [u64(1), u64(0), u32(3), u32(0)]],
      [OPCODES.SETXATTR, [u32(3), u32(0), text("user.a"), [1, 2, 3]]],
      [OPCODES.GETXATTR, [u32(3), u32(0), text("user.a")]],
    ];
    for (const [opcode, parts] of whole) {
      const body = parts.flat();
      for (let length = 0; length < body.length; length++) {
        const harness = new Harness();
        const { errno } = harness.ask({ opcode }, body.slice(0, length));
        expect(errno, `opcode ${opcode} cut to ${length}`).toBe(ERRNO.EINVAL);
        expect(harness.session.statistics.failures).toBe(0);
      }
    }
  });

  it("RandomRequestsAreAlwaysAnsweredOnceAndNeverThrow", () => {
    const opcodes = fc.oneof(fc.constantFrom(...Object.values(OPCODES)), fc.nat(100));
    const silent: number[] = [OPCODES.FORGET, OPCODES.BATCH_FORGET, OPCODES.INTERRUPT];
    const requests = fc.array(fc.tuple(opcodes, fc.nat(6), fc.uint8Array({ maxLength: 120 })), {
      minLength: 1,
      maxLength: 30,
    });
    fc.assert(
      fc.property(requests, (sequence) => {
        const harness = new Harness();
        for (const [opcode, node, body] of sequence) {
          const before = harness.answers.length;
          void harness.tell({ opcode, node }, [...body]);
          expect(harness.answers.length - before).toBe(silent.includes(opcode) ? 0 : 1);
        }
        expect(harness.session.statistics.failures, harness.log.join("\n")).toBe(0);
      }),
    );
  });

  it("RandomBytesNeverThrow", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const harness = new Harness();
        void harness.session.handle(bytes);
        expect(harness.session.statistics.failures, harness.log.join("\n")).toBe(0);
      }),
    );
  });
});
