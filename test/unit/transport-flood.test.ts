/** What floods cost: counted in key exchanges, HMACs, answers and memory, not in seconds. */
import { describe, expect, it } from "vitest";
import { Acceptor, MAX_HALF_OPEN } from "../../gateway/core/transport/acceptor.ts";
import { Answers } from "../../gateway/core/transport/answers.ts";
import { type Member, Demultiplexer } from "../../gateway/core/transport/demultiplexer.ts";
import { finish, handshakeSecrets, initiate } from "../../gateway/core/transport/handshake.ts";
import { DATAGRAM, HandshakeInit, PROTOCOL_VERSION } from "../../gateway/core/transport/packets.ts";
import { SealedChannel } from "../../gateway/core/transport/sealed.ts";
import { nodeCrypto } from "../../gateway/udp/crypto.ts";
import type { CryptoPort } from "../../lib/ports.ts";
import { Prng } from "../../lib/prng.ts";
import { staticPair } from "../transport-keys.ts";

const SECOND = 1_000_000;
const [OURS, THEIRS] = staticPair(nodeCrypto);
const PEER = handshakeSecrets(nodeCrypto, THEIRS);

function counting() {
  const counts = { exchanges: 0, hmacs: 0 };
  const crypto: CryptoPort = {
    ...nodeCrypto,
    sharedSecret(...keys) {
      counts.exchanges++;
      return nodeCrypto.sharedSecret(...keys);
    },
    hmac(...parts) {
      counts.hmacs++;
      return nodeCrypto.hmac(...parts);
    },
  };
  const secrets = handshakeSecrets(crypto, OURS);
  const acceptor = new Acceptor(crypto, secrets, new Answers());
  counts.exchanges = 0;
  return { counts, acceptor };
}

function shuffled<T>(prng: Prng, all: readonly T[]): T[] {
  return all
    .map((each) => ({ each, at: prng.u32() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ each }) => each);
}

describe("inits", () => {
  it("of strangers cost no cryptography, and ten notices a second", () => {
    const { counts, acceptor } = counting();
    const stranger = handshakeSecrets(nodeCrypto, new Uint8Array(32).fill(1));
    const { datagram } = initiate(nodeCrypto, stranger, 1);
    let notices = 0;
    for (let i = 0; i < 10_000; i++) {
      const answer = acceptor.handleInit(datagram, i * 100, 0);
      expect(answer.verdict).toBe("wrongKey");
      if (answer.reply !== null) notices++;
    }
    expect(counts).toEqual({ exchanges: 0, hmacs: 0 });
    expect(notices).toBe(10);
  });

  it("that name us but are forged cost one HMAC each and no key exchange", () => {
    const { counts, acceptor } = counting();
    const { datagram } = initiate(nodeCrypto, PEER, 1);
    const at = HandshakeInit.offsetOf("ephemeral");
    const forged = datagram.with(at, (datagram[at] ?? 0) ^ 1);
    for (let i = 0; i < 1000; i++) acceptor.handleInit(forged, i, 0);
    expect(counts).toEqual({ exchanges: 0, hmacs: 1000 });
    expect(acceptor.halfOpen).toBe(0);
  });

  it("replayed in any order cost a bounded number of key exchanges and half-open handshakes", () => {
    const { counts, acceptor } = counting();
    const prng = new Prng(3);
    const recorded = Array.from({ length: 50 }, (_, i) => initiate(nodeCrypto, PEER, i).datagram);
    for (let round = 0; round < 100; round++) {
      for (const init of shuffled(prng, recorded)) acceptor.handleInit(init, round * 10_000, 0);
      expect(acceptor.halfOpen).toBeLessThanOrEqual(MAX_HALF_OPEN);
    }
    // Three exchanges an answer; each init once as the newest, else one in 50 ms.
    expect(counts.exchanges).toBeLessThanOrEqual(3 * (50 + 20));
  });

  it("replayed in a flood do not keep the peer out", () => {
    const { acceptor } = counting();
    const prng = new Prng(4);
    const recorded = Array.from({ length: 50 }, (_, i) => initiate(nodeCrypto, PEER, i).datagram);
    for (const init of shuffled(prng, recorded)) acceptor.handleInit(init, 0, 0);
    const initiation = initiate(nodeCrypto, PEER, 1000);
    const { reply } = acceptor.handleInit(initiation.datagram, 1, 0);
    const finished = finish(nodeCrypto, PEER, initiation, reply ?? new Uint8Array());
    // The flood goes on for a second, while the answer is on its way.
    for (let ms = 1; ms < 1000; ms++) {
      for (const init of shuffled(prng, recorded)) acceptor.handleInit(init, ms * 1000, 0);
    }
    expect(finished).not.toBeNull();
    if (finished === null) return;
    const candidate = acceptor.find(finished.peerId);
    const sealed = new Uint8Array(64);
    const length = new SealedChannel(nodeCrypto, finished).seal(Uint8Array.of(1), sealed);
    expect(candidate?.channel.open(sealed.subarray(0, length), new Uint8Array(64))).toBe(1);
  });
});

describe("one socket for several", () => {
  it("strangers get at most a notice each 100 ms, smaller than what they sent", () => {
    const demultiplexer = new Demultiplexer<Member>(new Answers());
    for (let i = 0; i < 2; i++) demultiplexer.add({ association: { claims: () => false } });
    const prng = new Prng(5);
    let answers = 0;
    for (let i = 0; i < 50_000; i++) {
      const bytes = prng.fill(new Uint8Array(prng.below(200)));
      bytes.set([1 + prng.below(4), PROTOCOL_VERSION].slice(0, bytes.length));
      const hand = (): never => {
        throw new Error("nobody claimed it");
      };
      const reply = demultiplexer.dispatch(bytes, i * 100, hand);
      if (reply === null) continue;
      answers++;
      expect(reply[0]).toBe(DATAGRAM.notice);
      expect(reply.length).toBeLessThanOrEqual(bytes.length);
    }
    expect(answers).toBeGreaterThan(10);
    expect(answers).toBeLessThanOrEqual((50_000 * 100) / (SECOND / 10) + 1);
    expect(demultiplexer.statistics.strangers).toBe(50_000);
  });

  it("a session id that two have goes to both until one says that it is authentic", () => {
    const demultiplexer = new Demultiplexer<Member & { name: string }>(new Answers());
    for (const name of ["a", "b", "c"]) {
      demultiplexer.add({ name, association: { claims: () => name !== "c" } });
    }
    const asked: string[] = [];
    const reply = demultiplexer.dispatch(new Uint8Array(40), 0, ({ name }) => {
      asked.push(name);
      return name === "b" ? "authentic" : "unknown";
    });
    expect(asked).toEqual(["a", "b"]);
    expect(reply).toBeNull();
  });
});
