/**
 * Wire packets of protocol version 1, byte for byte. A change here is another protocol version: two
 * releases meet on the wire.
 */
import { describe, expect, it } from "vitest";
import { viewOf } from "../../lib/codec.ts";
import type { CryptoPort } from "../../lib/ports.ts";
import { finish, handshakeSecrets, initiate, respond } from "../../gateway/core/handshake.ts";
import {
  Ack,
  DATAGRAM,
  DataHeader,
  Echo,
  INNER,
  NOTICE,
  Notice,
  PROTOCOL_VERSION,
  StreamFrame,
} from "../../gateway/core/packets.ts";
import { PACKETS_PER_KEY, SealedChannel } from "../../gateway/core/sealed.ts";
import { nodeCrypto } from "../../gateway/udp/crypto.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "hex"));

/** Fixed keys and session id; all else is the real thing. */
function fixed(privateByte: number, publicKey: string, id: number): CryptoPort {
  const privateKey = new Uint8Array(32).fill(privateByte);
  return {
    ...nodeCrypto,
    randomBytes: (length) => new Uint8Array(length).fill(id),
    generateKeyPair: () => ({ privateKey, publicKey: bytes(publicKey) }),
  };
}

const INITIATOR = fixed(
  1,
  "a4e09292b651c278b9772c569f5fa9bb13d906b46ab68c9df9dc2b4409f8a209",
  0xa1,
);
const RESPONDER = fixed(
  2,
  "ce8d3ad1ccb633ec7b70c17814a5c76ecd029685050d344745ba05870e587d59",
  0xb2,
);
const SECRETS = handshakeSecrets(nodeCrypto, new Uint8Array(32).fill(7));

function handshake() {
  const initiation = initiate(INITIATOR, SECRETS, 1_700_000_000_000_000);
  const halfOpen = respond(RESPONDER, SECRETS, initiation.datagram, 0xc3c3c3c3);
  const finished = finish(INITIATOR, SECRETS, initiation, halfOpen.response);
  if (finished === null) throw new Error("the handshake failed");
  const initiator = new SealedChannel(INITIATOR, finished);
  const responder = new SealedChannel(RESPONDER, halfOpen);
  return { initiation, halfOpen, finished, initiator, responder };
}

function sealed(channel: SealedChannel, plain: Uint8Array): Uint8Array {
  const out = new Uint8Array(plain.length + 32);
  expect(channel.seal(plain, out)).toBe(out.length);
  return out;
}

describe("protocol version 1", () => {
  it("handshake", () => {
    const { initiation, halfOpen, finished } = handshake();
    expect(hex(initiation.datagram)).toBe(
      "01010000a1a1a1a100401e18240a0600a4e09292b651c278b9772c569f5fa9bb13d906b46ab68c9df9dc2b4409f8a209aaf6a612cf899b998dc45970b7dea695520029b7d32d07c901e8c01e5660099d",
    );
    expect(hex(halfOpen.response)).toBe(
      "02010000a1a1a1a1b2b2b2b2c3c3c3c3ce8d3ad1ccb633ec7b70c17814a5c76ecd029685050d344745ba05870e587d5905b3b45a2cb493f687bfc9378649ae0c1cf3bf5342991578a56dabfb8b25c64c",
    );
    expect(finished.heldId).toBe(0xc3c3c3c3);
  });

  it("sealed datagrams, both directions", () => {
    const { initiator, responder } = handshake();
    const plain = Uint8Array.of(1, 2, 3, 4, 5);
    expect(hex(sealed(initiator, plain))).toBe(
      "03010000b2b2b2b20000000000000000754b3a2d9053f183977623be14d2dff0fa4467b055",
    );
    expect(hex(sealed(initiator, plain))).toBe(
      "03010000b2b2b2b20100000000000000ea3370bf17c02f8dacdc34241a4249a284c88dc72b",
    );
    expect(hex(sealed(responder, plain))).toBe(
      "03010000a1a1a1a10000000000000000c6df3bc091f8a8f5ed828255081eefd40ee0bdb375",
    );
  });

  it("notice", () => {
    const out = new Uint8Array(Notice.size);
    const [type, version, code] = [DATAGRAM.notice, PROTOCOL_VERSION, NOTICE.unknownSession];
    Notice.encode(viewOf(out), 0, { type, version, code, receiver: 0xb2b2b2b2 });
    expect(hex(out)).toBe("04010300b2b2b2b2");
  });

  it("data packet", () => {
    const out = new Uint8Array(DataHeader.size + StreamFrame.size);
    DataHeader.encode(viewOf(out), 0, { kind: INNER.data, unsettled: 0x1234, id: 0x56789abc });
    StreamFrame.encode(viewOf(out), DataHeader.size, { offset: 2 ** 40 + 5 });
    expect(hex(out)).toBe("010000000000003412bc9a78560500000000010000");
  });

  it("ack and ping", () => {
    const out = new Uint8Array(Ack.size + Echo.size);
    Ack.encode(viewOf(out), 0, {
      kind: INNER.ack,
      bitmapBytes: 2,
      baseId: 3,
      endId: 4,
      echoId: 5,
      echoValid: 1,
      echoDelayMicros: 6,
      deliveredOffset: 7,
      limitOffset: 8,
      lostPackets: 9,
      rebuiltPackets: 10,
      unrecoverablePackets: 11,
      loss: 0.5,
      burst: 1,
    });
    Echo.encode(viewOf(out), Ack.size, { kind: INNER.ping, sentMicros: 12 });
    expect(hex(out)).toBe(
      "0300020003000000040000000500000001000000060000000700000000000000080000000000000009000000000000000a000000000000000b00000000000000000000000000e03f000000000000f03f04000000000000000c00000000000000",
    );
  });
});

describe("a new key phase", () => {
  /** Both ends as they are after so many packets, without sealing sixteen million. */
  function near(packetNumber: number) {
    const ends = handshake();
    (ends.initiator as unknown as { nextPacketNumber: number }).nextPacketNumber = packetNumber;
    return ends;
  }
  const opened = new Uint8Array(64);

  it("begins by itself, and what was overtaken opens with the key before", () => {
    const { initiator, responder } = near(PACKETS_PER_KEY - 2);
    const [a, b, c, d] = [1, 2, 3, 4].map((n) => sealed(initiator, Uint8Array.of(n)));
    for (const [datagram, n] of [
      [a, 1],
      [c, 3],
      [b, 2],
      [d, 4],
    ] as const) {
      expect(responder.open(datagram ?? new Uint8Array(), opened)).toBe(1);
      expect(opened[0]).toBe(n);
      expect(responder.open(datagram ?? new Uint8Array(), opened), "a replay").toBe(-1);
    }
  });

  it("has another key: the same packet in the other phase does not open", () => {
    const { initiator, responder } = near(PACKETS_PER_KEY - 1);
    const last = sealed(initiator, Uint8Array.of(1));
    const first = sealed(initiator, Uint8Array.of(1));
    const moved = first.slice();
    moved.set(last.subarray(8, 16), 8);
    expect(responder.open(moved, opened)).toBe(-1);
    expect(responder.open(first, opened)).toBe(1);
  });
});
