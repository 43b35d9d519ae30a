/** Static keys and key updates, one fact at a time. */
import { describe, expect, it } from "vitest";
import type { Credentials } from "../../gateway/core/transport/credentials.ts";
import { EpochKeys, MAX_PACKETS_PER_KEY } from "../../gateway/core/transport/epoch-keys.ts";
import {
  finish,
  handshakeSecrets,
  initiate,
  respond,
} from "../../gateway/core/transport/handshake.ts";
import { KEY_OVERLAP_MICROS } from "../../gateway/core/transport/key-update.ts";
import { HandshakeResponse } from "../../gateway/core/transport/packets.ts";
import { nodeCrypto } from "../../gateway/udp/crypto.ts";
import { type End, ends, staticPair } from "../transport-keys.ts";

const SOON = { rekeyPackets: Infinity, rekeyMicros: 1000 };

/** Runs a whole exchange at `nowMicros`; what the initiator sealed last before it. */
function rotate(a: End, b: End, nowMicros: number): void {
  const request = a.poll(nowMicros);
  expect(request).not.toBeNull();
  expect(b.take(request ?? new Uint8Array(), nowMicros)).toBe(true);
  const answer = b.poll(nowMicros);
  expect(a.take(answer ?? new Uint8Array(), nowMicros)).toBe(true);
}

describe("static keys", () => {
  it("lead both sides to the same session keys, others each time", () => {
    const [mine, theirs] = staticPair(nodeCrypto);
    const [a, b] = ends(nodeCrypto, SOON, [mine, theirs]);
    expect(b.take(a.seal(1), 0)).toBe(true);
    expect(a.take(b.seal(2), 0)).toBe(true);
    const [c] = ends(nodeCrypto, SOON, [mine, theirs]);
    expect(c.channel.agreement.keys.send).not.toEqual(a.channel.agreement.keys.send);
  });

  it("of somebody else are refused by the init's key id and mac, before any key exchange", () => {
    const [mine] = staticPair(nodeCrypto);
    const [, stranger] = staticPair(nodeCrypto);
    const ours = handshakeSecrets(nodeCrypto, mine);
    const others = handshakeSecrets(nodeCrypto, stranger);
    expect(ours.keyId).not.toEqual(others.keyId);
    expect(ours.authentication).not.toEqual(others.authentication);
  });

  it("whoever has stolen our private key cannot play the peer to us", () => {
    const [mine, theirs] = staticPair(nodeCrypto);
    const ours = handshakeSecrets(nodeCrypto, mine);
    const initiation = initiate(nodeCrypto, ours, 1);
    // The thief knows what the pair shares, but not the peer's private key.
    const guess = nodeCrypto.generateKeyPair().privateKey;
    const thief = { ...ours, statics: { privateKey: guess, peerPublicKey: own(theirs) } };
    const { response } = respond(nodeCrypto, thief, initiation.datagram, 0);
    expect(finish(nodeCrypto, ours, initiation, response)).toBeNull();
    const honest = respond(
      nodeCrypto,
      handshakeSecrets(nodeCrypto, theirs),
      initiation.datagram,
      0,
    );
    expect(finish(nodeCrypto, ours, initiation, honest.response)).not.toBeNull();
  });

  it("a response with any byte changed is not taken", () => {
    const [mine, theirs] = staticPair(nodeCrypto);
    const ours = handshakeSecrets(nodeCrypto, mine);
    const initiation = initiate(nodeCrypto, ours, 1);
    const secrets = handshakeSecrets(nodeCrypto, theirs);
    const { response } = respond(nodeCrypto, secrets, initiation.datagram, 0);
    expect(response.length).toBe(HandshakeResponse.size);
    // Reserved bytes are refused with an error, which the association takes for the same.
    for (let at = 4; at < response.length; at++) {
      const damaged = response.with(at, (response[at] ?? 0) ^ 1);
      expect(finish(nodeCrypto, ours, initiation, damaged)).toBeNull();
    }
  });

  function own(credentials: Credentials): Uint8Array {
    if (credentials instanceof Uint8Array) throw new Error("not static");
    return credentials.peerPublicKey;
  }
});

describe("new keys in a session", () => {
  it("come after the time, and packets overtaken by them still open", () => {
    const [a, b] = ends(nodeCrypto, SOON);
    expect(b.take(a.seal(1), 0)).toBe(true);
    expect(a.poll(999)).toBeNull();
    const overtaken = a.seal(2);
    rotate(a, b, 1000);
    expect([a.channel.epoch, b.channel.epoch]).toEqual([1, 0]);
    expect(b.take(a.seal(3), 1000)).toBe(true);
    expect(b.channel.epoch).toBe(1);
    expect(b.take(overtaken, 1000)).toBe(true);
    expect(b.take(overtaken, 1000), "a replay").toBe(false);
    expect(b.opened).toEqual([1, 3, 2]);
  });

  it("come after so many packets of either direction", () => {
    const [a, b] = ends(nodeCrypto, { rekeyPackets: 3, rekeyMicros: Infinity });
    for (let i = 0; i < 2; i++) a.take(b.seal(i), 0);
    expect(a.poll(0)).toBeNull();
    a.take(b.seal(3), 0);
    expect(a.poll(0)).not.toBeNull();
  });

  it("erase the old ones after the overlap, at both ends", () => {
    const [a, b] = ends(nodeCrypto, SOON);
    const lateForB = a.seal(1);
    const lateForA = b.seal(1);
    const { send, receive } = a.channel.agreement.keys;
    rotate(a, b, 1000);
    expect(
      send.every((byte) => byte === 0),
      "the initiator seals with the new",
    ).toBe(true);
    b.take(a.seal(2), 1000);
    a.take(b.seal(2), 1000);
    for (const end of [a, b]) {
      end.update.handleTimeout(1000 + KEY_OVERLAP_MICROS - 1);
      expect(end.channel.hasPrevious).toBe(true);
      end.update.handleTimeout(1000 + KEY_OVERLAP_MICROS);
      expect(end.channel.hasPrevious).toBe(false);
    }
    expect(receive.every((byte) => byte === 0)).toBe(true);
    expect(b.channel.agreement.keys.receive.every((byte) => byte === 0)).toBe(true);
    expect(b.take(lateForB, 0)).toBe(false);
    expect(a.take(lateForA, 0)).toBe(false);
  });

  it("a lost request and a lost answer are made good by asking again", () => {
    const [a, b] = ends(nodeCrypto, SOON);
    expect(a.poll(1000)).not.toBeNull();
    expect(a.poll(1001), "not before the retry").toBeNull();
    const again = a.poll(501_000) ?? new Uint8Array();
    b.take(again, 501_000);
    expect(b.poll(501_000)).not.toBeNull();
    b.take(a.poll(1_001_000) ?? new Uint8Array(), 1_001_000);
    expect(a.take(b.poll(1_001_000) ?? new Uint8Array(), 1_001_000)).toBe(true);
    expect(b.take(a.seal(9), 1_001_000)).toBe(true);
    expect(b.channel.epoch).toBe(1);
  });

  it("the responder's packets go on with the old keys until it has seen the new", () => {
    const [a, b] = ends(nodeCrypto, SOON);
    rotate(a, b, 1000);
    for (let i = 0; i < 3; i++) expect(a.take(b.seal(i), 60_000_000)).toBe(true);
    a.update.handleTimeout(60_000_000);
    expect(a.take(b.seal(9), 60_000_000), "nothing was erased while they are in use").toBe(true);
  });

  it("do not fit a header of the other epoch", () => {
    const [a, b] = ends(nodeCrypto, SOON);
    rotate(a, b, 1000);
    const moved = a.seal(1).with(2, 0);
    expect(b.take(moved, 1000)).toBe(false);
    expect(b.channel.epoch).toBe(0);
  });

  it("follow one another for long", () => {
    const [a, b] = ends(nodeCrypto, { rekeyPackets: 1, rekeyMicros: Infinity });
    for (let epoch = 1; epoch <= 40; epoch++) {
      const nowMicros = epoch * 2 * KEY_OVERLAP_MICROS;
      b.take(a.seal(7), nowMicros);
      rotate(a, b, nowMicros);
      b.take(a.seal(8), nowMicros);
      a.take(b.seal(9), nowMicros);
      for (const end of [a, b]) end.update.handleTimeout(nowMicros + KEY_OVERLAP_MICROS);
      expect([a.channel.epoch, b.channel.epoch]).toEqual([epoch, epoch]);
    }
  });

  it("a key is not used beyond its limit", () => {
    const keys = new EpochKeys(0, new Uint8Array(32), new Uint8Array(32));
    (keys as unknown as { sealedPackets: number }).sealedPackets = MAX_PACKETS_PER_KEY - 1;
    keys.nextPacketNumber();
    expect(keys.isExhausted).toBe(true);
    expect(() => keys.nextPacketNumber()).toThrow(/limit/);
  });
});
