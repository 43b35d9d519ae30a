/** Keys as people keep them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { handshakeSecrets } from "../../gateway/core/transport/handshake.ts";
import { nodeCrypto } from "../../gateway/udp/crypto.ts";
import { generateKey, publicKeyOf, readKeys, writeKeyFile } from "../../gateway/udp/keys.ts";

const directory = mkdtempSync(join(tmpdir(), "smfs-keys-"));
afterAll(() => rmSync(directory, { recursive: true }));

const base64 = (hex: string): string => Buffer.from(hex, "hex").toString("base64");

function privateKeyFile(name: string): { file: string; publicKey: string } {
  const file = join(directory, name);
  const key = generateKey();
  writeFileSync(file, `${key}\n`, { mode: 0o600 });
  return { file, publicKey: publicKeyOf(key) };
}

describe("public keys", () => {
  it("are those of RFC 7748 §6.1", () => {
    const bob = base64("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    expect(publicKeyOf(bob)).toBe(
      base64("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"),
    );
  });

  it("are made of private keys only", () => {
    expect(() => publicKeyOf("what is this")).toThrow(/no private key/);
  });
});

describe("static keys in a configuration", () => {
  it("give the two sites one secret, and other pairs another", () => {
    const [a, b, c] = ["a", "b", "c"].map(privateKeyFile) as [
      ReturnType<typeof privateKeyFile>,
      ReturnType<typeof privateKeyFile>,
      ReturnType<typeof privateKeyFile>,
    ];
    const secret = (own: typeof a, peer: typeof a): Uint8Array => {
      const source = {
        kind: "static",
        privateKeyFile: own.file,
        publicKey: peer.publicKey,
      } as const;
      return handshakeSecrets(nodeCrypto, readKeys(source)).shared;
    };
    expect(secret(a, b)).toEqual(secret(b, a));
    expect(secret(a, c)).not.toEqual(secret(a, b));
  });

  it("of which one is our own, or none, are refused", () => {
    const own = privateKeyFile("own");
    const source = { kind: "static", privateKeyFile: own.file } as const;
    expect(() => readKeys({ ...source, publicKey: own.publicKey })).toThrow(/this site's own/);
    const zero = Buffer.alloc(32).toString("base64");
    expect(() => readKeys({ ...source, publicKey: zero })).toThrow(/public_key: .*not usable/);
    expect(() => readKeys({ ...source, publicKey: "short" })).toThrow(/not a key/);
  });

  it("name their key in what they complain of", () => {
    const source = { kind: "static", publicKey: generateKey() } as const;
    const missing = join(directory, "missing");
    expect(() => readKeys({ ...source, privateKeyFile: missing })).toThrow(/^private_key_file: /);
    const shared = join(directory, "shared");
    writeKeyFile(shared);
    expect(readKeys({ kind: "shared", file: shared })).toHaveLength(32);
  });
});
