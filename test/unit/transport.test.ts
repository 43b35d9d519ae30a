/** The transport's handshake, keys, pace and layouts, one fact at a time. */
import { describe, expect, it } from "vitest";
import { viewOf } from "../../lib/codec.ts";
import {
  finish,
  handshakeSecrets,
  initiate,
  initVerifies,
  respond,
} from "../../gateway/core/transport/handshake.ts";
import { Pacer, RateControl } from "../../gateway/core/transport/pacer.ts";
import {
  Ack,
  DataHeader,
  HandshakeInit,
  HandshakeResponse,
  Notice,
  SealedHeader,
} from "../../gateway/core/transport/packets.ts";
import { RoundTrip } from "../../gateway/core/transport/rtt.ts";
import { SealedChannel } from "../../gateway/core/transport/sealed.ts";
import { nodeCrypto } from "../../gateway/udp/crypto.ts";

const SECRETS = handshakeSecrets(nodeCrypto, new Uint8Array(32).fill(1));
const OTHERS = handshakeSecrets(nodeCrypto, new Uint8Array(32).fill(2));

function channels(): [SealedChannel, SealedChannel] {
  const initiation = initiate(nodeCrypto, SECRETS, 1);
  const halfOpen = respond(nodeCrypto, SECRETS, initiation.datagram, 0);
  const agreement = finish(nodeCrypto, SECRETS, initiation, halfOpen.response);
  if (agreement === null) throw new Error("the handshake failed");
  return [new SealedChannel(nodeCrypto, agreement), new SealedChannel(nodeCrypto, halfOpen)];
}

describe("layouts of version 2", () => {
  it.each([
    ["init", 96, HandshakeInit],
    ["response", 96, HandshakeResponse],
    ["notice", 8, Notice],
    ["sealed header", 16, SealedHeader],
    ["data header", 17, DataHeader],
    ["ack", 120, Ack],
  ] as const)("%s has %i bytes", (_name, bytes, layout) => {
    expect(layout.size).toBe(bytes);
  });
});

describe("handshake", () => {
  it("gives both sides the same keys, crossed", () => {
    const initiation = initiate(nodeCrypto, SECRETS, 1);
    const halfOpen = respond(nodeCrypto, SECRETS, initiation.datagram, 0);
    const agreement = finish(nodeCrypto, SECRETS, initiation, halfOpen.response);
    expect(agreement?.keys.send).toEqual(halfOpen.keys.receive);
    expect(agreement?.keys.receive).toEqual(halfOpen.keys.send);
    expect(agreement?.peerId).toBe(halfOpen.ownId);
  });

  it("an init verifies by its own key only, and not when any byte changed", () => {
    const { datagram } = initiate(nodeCrypto, SECRETS, 1);
    expect(initVerifies(nodeCrypto, SECRETS, datagram)).toBe(true);
    expect(initVerifies(nodeCrypto, OTHERS, datagram)).toBe(false);
    for (let at = 0; at < datagram.length; at++) {
      const damaged = datagram.with(at, (datagram[at] ?? 0) ^ 1);
      expect(initVerifies(nodeCrypto, SECRETS, damaged)).toBe(false);
    }
  });

  it("a response to another init is not taken", () => {
    const first = initiate(nodeCrypto, SECRETS, 1);
    const second = initiate(nodeCrypto, SECRETS, 2);
    const { response } = respond(nodeCrypto, SECRETS, first.datagram, 0);
    expect(finish(nodeCrypto, SECRETS, second, response)).toBeNull();
    expect(finish(nodeCrypto, OTHERS, first, response)).toBeNull();
  });

  it("a public key of low order is an error and not a secret of zeros", () => {
    const { privateKey } = nodeCrypto.generateKeyPair();
    expect(() => nodeCrypto.sharedSecret(privateKey, new Uint8Array(32))).toThrow(/not usable/);
  });
});

describe("sealed datagrams", () => {
  it("open once", () => {
    const [a, b] = channels();
    const sealed = new Uint8Array(64);
    const opened = new Uint8Array(64);
    const length = a.seal(Uint8Array.from([1, 2, 3]), sealed);
    expect(b.open(sealed.subarray(0, length), opened)).toBe(3);
    expect(opened.subarray(0, 3)).toEqual(Uint8Array.from([1, 2, 3]));
    expect(b.open(sealed.subarray(0, length), opened)).toBe(-1);
    expect(a.open(sealed.subarray(0, length), opened)).toBe(-1);
  });

  it("a forged epoch changes no keys", () => {
    const [a, b] = channels();
    const sealed = new Uint8Array(64);
    const opened = new Uint8Array(64);
    const length = a.seal(Uint8Array.from([1]), sealed);
    const forged = sealed.slice(0, length);
    viewOf(forged).setUint16(SealedHeader.offsetOf("epoch"), 1, true);
    expect(b.open(forged, opened)).toBe(-1);
    expect(b.open(sealed.subarray(0, length), opened)).toBe(1);
  });
});

describe("pace", () => {
  it("sends a burst after silence, then one datagram per interval", () => {
    const pacer = new Pacer(2800);
    let sent = 0;
    for (let now = 1_000_000; now < 1_001_120; now++) {
      while (pacer.readyMicros <= now) {
        pacer.noteSent(1400, 1e8, now);
        sent++;
      }
    }
    // 112 µs each at 100 Mbit/s: the burst of two, the one that opens it, nine intervals.
    expect(sent).toBe(12);
  });

  const quiet = { queueMicros: 0, leastMicros: 50_000, packets: 1000, lost: 0, unrecoverable: 0 };

  it("doubles to the maximum, backs off from queues, recovers slowly", () => {
    const rate = new RateControl(800e6);
    for (let i = 0; i < 3; i++) rate.handleRound(quiet);
    expect(rate.bitsPerSecond).toBe(800e6);
    rate.handleRound({ ...quiet, queueMicros: 30_000 });
    expect(rate.bitsPerSecond).toBeCloseTo(680e6);
    rate.handleRound(quiet);
    // √(680e6 × 2e5) more.
    expect(rate.bitsPerSecond / 1e6).toBeCloseTo(691.66, 1);
  });

  it("random loss beyond repair does not drive the rate down", () => {
    const rate = new RateControl(800e6);
    const lossy = { ...quiet, lost: 200, unrecoverable: 100 };
    for (let i = 0; i < 200; i++) rate.handleRound(lossy);
    expect(rate.bitsPerSecond).toBeGreaterThan(400e6);
  });

  it("what arrives of a flood is what the path carries", () => {
    const rate = new RateControl(800e6);
    rate.handleRound({ ...quiet, lost: 600, unrecoverable: 600 });
    expect(rate.bitsPerSecond).toBeCloseTo(40e6);
  });

  it("a bottleneck of a tenth drives it down to about the bottleneck", () => {
    const rate = new RateControl(1e9);
    for (let i = 0; i < 100; i++) {
      const lost = Math.max(0, 1 - 1e8 / rate.bitsPerSecond) * 1000;
      rate.handleRound({ ...quiet, lost, unrecoverable: lost });
    }
    expect(rate.bitsPerSecond).toBeLessThan(1.7e8);
    expect(rate.bitsPerSecond).toBeGreaterThan(0.8e8);
  });
});

describe("round trip", () => {
  it("forgets the least after 20 seconds, so that a longer path is not a queue for ever", () => {
    const roundTrip = new RoundTrip();
    roundTrip.sample(10_000, 1);
    for (let now = 1; now < 40; now++) roundTrip.sample(50_000, now * 1_000_000);
    expect(roundTrip.leastMicros).toBe(50_000);
    expect(roundTrip.queueMicros).toBeLessThan(1000);
  });
});
