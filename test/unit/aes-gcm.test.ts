/** AES-GCM by OpenSSL directly and by node:crypto: one contract, and each opens what the other sealed. */
import { describe, expect, it } from "vitest";
import type { CryptoPort } from "../../lib/ports.ts";
import { Prng } from "../../lib/prng.ts";
import { nodeCrypto } from "../../gateway/udp/crypto.ts";
import { openSslCrypto } from "../../gateway/udp/fast-crypto.ts";

const openSsl = openSslCrypto();
if (openSsl === null) throw new Error("this platform has no OpenSSL to call");

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));

describe.each([
  ["node:crypto", nodeCrypto, openSsl],
  ["OpenSSL", openSsl, nodeCrypto],
] as readonly (readonly [string, CryptoPort, CryptoPort])[])("%s", (_name, crypto, other) => {
  it("gives the ciphertext and tag of the published test case 16", () => {
    // The Galois/Counter Mode of Operation (McGrew and Viega), appendix B.
    const key = bytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    const plain = bytes(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    );
    const associated = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    const out = new Uint8Array(plain.length + 16);
    const length = crypto.seal(key, bytes("cafebabefacedbaddecaf888"), associated, plain, out);
    expect(length).toBe(out.length);
    expect(Buffer.from(out).toString("hex")).toBe(
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
    );
  });

  it("opens what the other sealed, of any length, with keys in turn", () => {
    const prng = new Prng(1);
    const keys = [0, 1].map(() => prng.fill(new Uint8Array(32)));
    for (let length = 0; length < 1500; length += 1 + prng.below(90)) {
      const key = keys[length % 2] ?? new Uint8Array();
      const nonce = prng.fill(new Uint8Array(12));
      const associated = prng.fill(new Uint8Array(16));
      // Parts of larger memory, as in a datagram.
      const plain = prng.fill(new Uint8Array(length + 7)).subarray(7);
      const sealed = new Uint8Array(length + 20).subarray(4);
      expect(other.seal(key, nonce, associated, plain, sealed)).toBe(length + 16);
      const opened = new Uint8Array(length + 3).subarray(3);
      expect(crypto.open(key, nonce, associated, sealed, opened)).toBe(length);
      expect(opened).toEqual(plain);
    }
  });

  it("refuses every single changed byte, and works on afterwards", () => {
    const prng = new Prng(2);
    const [key, nonce, associated] = [32, 12, 16].map((n) => prng.fill(new Uint8Array(n)));
    if (!key || !nonce || !associated) throw new Error("three arrays");
    const plain = prng.fill(new Uint8Array(100));
    const sealed = new Uint8Array(116);
    const opened = new Uint8Array(100);
    crypto.seal(key, nonce, associated, plain, sealed);
    for (let i = 0; i < sealed.length; i++) {
      const damaged = Uint8Array.from(sealed, (byte, at) => (at === i ? byte ^ 1 : byte));
      expect(crypto.open(key, nonce, associated, damaged, opened)).toBe(-1);
    }
    expect(crypto.open(key, nonce, new Uint8Array(16), sealed, opened)).toBe(-1);
    expect(crypto.open(key, nonce, associated, sealed.subarray(0, 15), opened)).toBe(-1);
    expect(crypto.open(key, nonce, associated, sealed, opened)).toBe(100);
    expect(opened).toEqual(plain);
  });
});
