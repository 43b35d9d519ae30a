import { fc, test } from "@fast-check/vitest";
import { describe, expect } from "vitest";
import { combineCrc32c, crc32c } from "../../lib/crc32c.ts";
import { latin1 } from "../../lib/bytes.ts";

describe("CRC-32C", () => {
  test("is the one of RFC 3720, appendix B.4", () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(crc32c(latin1("123456789"))).toBe(0xe3069283);
  });

  test.prop([fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 })])(
    "of two runs follows from the two checksums",
    (a, b) => {
      const whole = Uint8Array.from([...a, ...b]);
      expect(combineCrc32c(crc32c(a), crc32c(b), b.length)).toBe(crc32c(whole));
    },
  );

  test("of two runs follows from the two checksums, however long the second is", () => {
    for (const length of [65_535, 65_536, 1_000_001, 16 * 2 ** 20]) {
      const whole = new Uint8Array(7 + length).fill(0x5a);
      whole[length] = 1;
      const [first, second] = [crc32c(whole.subarray(0, 7)), crc32c(whole.subarray(7))];
      expect(combineCrc32c(first, second, length)).toBe(crc32c(whole));
    }
  });
});
