/**
 * Wire packets of protocol version 2, byte for byte. A change here is another protocol version: two
 * releases meet on the wire.
 */
import { describe, expect, it } from "vitest";
import { viewOf } from "../../lib/codec.ts";
import type { CryptoPort } from "../../lib/ports.ts";
import {
  finish,
  handshakeSecrets,
  initiate,
  respond,
} from "../../gateway/core/transport/handshake.ts";
import {
  Ack,
  DATAGRAM,
  DataHeader,
  Echo,
  FRAME,
  INNER,
  NOTICE,
  Notice,
  PROTOCOL_VERSION,
  StreamCredit,
  StreamFrame,
} from "../../gateway/core/transport/packets.ts";
import { SealedChannel } from "../../gateway/core/transport/sealed.ts";
import { nodeCrypto } from "../../gateway/udp/crypto.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "hex"));

/** Fixed keys and session id; all else is the real thing. */
function fixed(privateByte: number, publicKey: string, id: number): CryptoPort {
  const privateKey = new Uint8Array(32).fill(privateByte);
  return {
    ...nodeCrypto,
    randomBytes: (length) => new Uint8Array(length).fill(id),
    // A copy: private keys are erased after use.
    generateKeyPair: () => ({ privateKey: privateKey.slice(), publicKey: bytes(publicKey) }),
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

describe("protocol version 2", () => {
  it("handshake", () => {
    const { initiation, halfOpen, finished } = handshake();
    expect(hex(initiation.datagram)).toBe(
      "01020000a1a1a1a100401e18240a0600051e67c008ee8fa40c97a70c91059e7ca4e09292b651c278b9772c569f5fa9bb13d906b46ab68c9df9dc2b4409f8a2097a22d74d901f7960a7736a09d4ee6b75de616b2d686a6865be85266beed7d52e",
    );
    expect(hex(halfOpen.response)).toBe(
      "02020000a1a1a1a1b2b2b2b2c3c3c3c3ce8d3ad1ccb633ec7b70c17814a5c76ecd029685050d344745ba05870e587d59e623bbcbcf0ed33c40034afd9c8e7496dad6766c598b94406fdb3bc5510e17cca912ccdd57d1d5cbab47942202140653",
    );
    expect(finished.heldId).toBe(0xc3c3c3c3);
  });

  it("sealed datagrams, both directions", () => {
    const { initiator, responder } = handshake();
    const plain = Uint8Array.of(1, 2, 3, 4, 5);
    expect(hex(sealed(initiator, plain))).toBe(
      "03020000b2b2b2b20000000000000000b100b8f354c0b85660bd3b47f00ea32b371aa3af48",
    );
    expect(hex(sealed(initiator, plain))).toBe(
      "03020000b2b2b2b20100000000000000cd8db145114d9cced9805467900555af99f89a8fc5",
    );
    expect(hex(sealed(responder, plain))).toBe(
      "03020000a1a1a1a100000000000000005fa83dc3b487beaf793c91cc0894535fd84823a1b2",
    );
  });

  it("notice", () => {
    const out = new Uint8Array(Notice.size);
    const [type, version, code] = [DATAGRAM.notice, PROTOCOL_VERSION, NOTICE.unknownSession];
    Notice.encode(viewOf(out), 0, { type, version, code, receiver: 0xb2b2b2b2 });
    expect(hex(out)).toBe("04020300b2b2b2b2");
  });

  it("data packet", () => {
    const out = new Uint8Array(DataHeader.size + StreamFrame.size);
    DataHeader.encode(viewOf(out), 0, { kind: INNER.data, unsettled: 0x1234, id: 0x56789abc });
    StreamFrame.encode(viewOf(out), DataHeader.size, {
      type: FRAME.stream,
      stream: 3,
      offset: 2 ** 40 + 5,
    });
    expect(hex(out)).toBe("01000000000000000000003412bc9a785601030500000000010000");
  });

  it("ack and ping", () => {
    const out = new Uint8Array(Ack.size + StreamCredit.size + Echo.size);
    Ack.encode(viewOf(out), 0, {
      kind: INNER.ack,
      streams: 1,
      bitmapBytes: 2,
      baseId: 3,
      endId: 4,
      echoId: 5,
      echoValid: 1,
      echoDelayMicros: 6,
      lostPackets: 9,
      rebuiltPackets: 10,
      unrecoverablePackets: 11,
      loss: 0.5,
      burst: 1,
      judgedPackets: 12,
      missedPackets: 13,
      runs1: 14,
      runs2: 15,
      runs4: 16,
      runs8: 17,
      runs16: 18,
      runs32: 19,
      runs64: 20,
      runsLonger: 21,
      overtakenBy: 22,
    });
    const credit = { stream: 3, deliveredOffset: 7, limitOffset: 8 };
    StreamCredit.encode(viewOf(out), Ack.size, credit);
    const echo = { kind: INNER.pong, bytes: 1400, settledId: 11, sentMicros: 12 };
    Echo.encode(viewOf(out), Ack.size + StreamCredit.size, echo);
    expect(hex(out)).toBe(
      "03010200030000000400000005000000010000000600000009000000000000000a000000000000000b00000000000000000000000000e03f000000000000f03f0c000000000000000d000000000000000e0000000f0000001000000011000000120000001300000014000000150000001600000000000000030000000000000007000000000000000800000000000000050078050b0000000c00000000000000",
    );
  });
});
