/** Laws of what the appliance does to IP packets, whoever made them. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fingerprinter, makeSendable, normalise } from "../../gateway/core/ip/fingerprint.ts";
import { checksum, transportChecksum } from "../../gateway/core/ip/ip-checksum.ts";
import { IpPacket, IPV4, IPV6, TCP_FLAG } from "../../gateway/core/ip/ip.ts";
import { clampMss, mssOf } from "../../gateway/core/ip/ip-mss.ts";
import { MAX_ANSWER_BYTES, writeTooBig } from "../../gateway/core/ip/ip-too-big.ts";
import { readU16, readU32, writeU16 } from "../../gateway/core/ip/network-order.ts";
import { isInPrefix, parsePrefix, PrefixTable } from "../../gateway/core/ip/prefixes.ts";
import { formatEnd, FLOW_KEY_BYTES, writeFlowKey } from "../../gateway/core/ip/flow-key.ts";
import { ipPacket, parsed, tcpPacket, udpPacket } from "../ip-packets.ts";

const FOUR = { source: "10.1.0.2", destination: "10.2.0.3" };
const SIX = { source: "fd00:1::2", destination: "fd00:2::3" };
const ends = fc.constantFrom(FOUR, SIX);
const payload = fc.uint8Array({ maxLength: 600 });
const u32 = fc.nat(0xffffffff);

/** TCP options whose MSS option stands at any offset, odd ones too. */
const optionsWithMss = fc
  .record({ before: fc.nat(6), mss: fc.integer({ min: 500, max: 65_535 }) })
  .map(({ before, mss }) => {
    const plain = [...Array<number>(before).fill(1), 2, 4, mss >> 8, mss & 0xff];
    while (plain.length % 4 !== 0) plain.push(0);
    return { mss, before, options: Uint8Array.from(plain) };
  });

/** Bytes of a real packet, damaged anywhere, cut anywhere, or nothing like a packet. */
const hostile = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc
    .record({
      which: ends,
      options: optionsWithMss,
      cut: fc.nat(120),
      damage: fc.array(fc.record({ at: fc.nat(100), to: fc.nat(255) }), { maxLength: 6 }),
    })
    .map(({ which, options, cut, damage }) => {
      const packet = tcpPacket({ ...which, flags: TCP_FLAG.syn, options: options.options });
      for (const { at, to } of damage) packet[at % packet.length] = to;
      return packet.subarray(0, Math.max(0, packet.length - cut));
    }),
  // Chains of extension headers.
  fc.array(fc.constantFrom(0, 43, 44, 51, 60, 135, 6, 17), { maxLength: 14 }).map((chain) => {
    const body = Uint8Array.from(chain.flatMap((next) => [next, 0, 0, 0, 0, 0, 0, 0]));
    return ipPacket(SIX, chain[0] ?? 0, body);
  }),
);

describe("hostile packets", () => {
  it("are parsed without a throw, and what is said of them lies inside them", () => {
    const packet = new IpPacket();
    fc.assert(
      fc.property(hostile, (bytes) => {
        if (!packet.parse(bytes)) return;
        expect(packet.transportAt).toBeLessThanOrEqual(bytes.length);
        if (packet.hasPorts) expect(packet.transportAt + 4).toBeLessThanOrEqual(bytes.length);
        if (!packet.isTcp) return;
        const end = packet.transportAt + packet.tcpHeaderBytes + packet.payloadBytes;
        expect(end).toBe(bytes.length);
        expect(packet.payloadBytes).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: 500 },
    );
  });

  it("go through clamping, answers, keys and fingerprints without a throw or a longer packet", () => {
    const packet = new IpPacket();
    const fingerprinter = new Fingerprinter(new Uint8Array(8));
    const out = new Uint8Array(1500);
    fc.assert(
      fc.property(hostile, fc.integer({ min: 68, max: 1500 }), (bytes, mtu) => {
        if (!packet.parse(bytes)) return;
        clampMss(packet, mtu);
        const answer = writeTooBig(packet, mtu, null, out);
        expect(answer).toBeLessThanOrEqual(MAX_ANSWER_BYTES[packet.version]);
        if (packet.hasPorts) writeFlowKey(packet, "out", new Uint8Array(FLOW_KEY_BYTES));
        normalise(bytes);
        fingerprinter.take(bytes);
        makeSendable(bytes, packet.headerBytes);
      }),
      { numRuns: 500 },
    );
  });

  it("a chain of extension headers without end is not walked to its end", () => {
    const chain = Uint8Array.from({ length: 8 * 9 }, (_, i) => (i % 8 === 0 ? 60 : 0));
    expect(parsed(ipPacket(SIX, 60, chain)).transportAt).toBe(-1);
  });
});

describe("checksums", () => {
  it("of packets we build are right, and any changed byte shows", () => {
    fc.assert(
      fc.property(
        ends,
        payload,
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (which, bytes, at, x) => {
          const packet = parsed(udpPacket(which, bytes));
          expect(transportChecksum(packet)).toBe(0);
          const place = packet.transportAt + (at % (packet.length - packet.transportAt));
          packet.bytes[place] = (packet.bytes[place] ?? 0) ^ x;
          expect(transportChecksum(packet)).not.toBe(0);
        },
      ),
    );
  });
});

describe("MSS clamping", () => {
  it("leaves a SYN whose segments fit, and whose checksum is right", () => {
    fc.assert(
      fc.property(ends, optionsWithMss, fc.integer({ min: 600, max: 1500 }), (which, o, mtu) => {
        const bytes = tcpPacket({ ...which, flags: TCP_FLAG.syn, options: o.options });
        const most = mssOf(parsed(bytes).version, mtu);
        const packet = parsed(bytes);
        expect(clampMss(packet, mtu)).toBe(o.mss > most);
        const at = packet.transportAt + 20 + o.before + 2;
        expect(readU16(bytes, at)).toBe(Math.min(o.mss, most));
        expect(transportChecksum(parsed(bytes))).toBe(0);
      }),
    );
  });

  it("touches nothing but SYNs", () => {
    const options = Uint8Array.of(2, 4, 0xff, 0xff);
    const bytes = tcpPacket({ ...FOUR, flags: TCP_FLAG.ack, options });
    expect(clampMss(parsed(bytes), 1000)).toBe(false);
  });
});

describe("packet too big", () => {
  it("tells the sender the size, quotes its packet, and has right checksums", () => {
    fc.assert(
      fc.property(ends, fc.integer({ min: 576, max: 1400 }), payload, (which, mtu, bytes) => {
        const packet = parsed(udpPacket(which, bytes));
        const out = new Uint8Array(1500).fill(0xaa);
        const answer = parsed(out.slice(0, writeTooBig(packet, mtu, null, out)));
        const at = answer.transportAt;
        if (answer.version === 4) {
          expect([answer.bytes[at], answer.bytes[at + 1]]).toEqual([3, 4]);
          expect(readU16(answer.bytes, at + 6)).toBe(mtu);
          expect(checksum(answer.bytes, 0, 20)).toBe(0);
          expect(checksum(answer.bytes, at, answer.bytes.length - at)).toBe(0);
        } else {
          expect([answer.bytes[at], answer.bytes[at + 1]]).toEqual([2, 0]);
          expect(readU32(answer.bytes, at + 4)).toBe(mtu);
          expect(transportChecksum(answer)).toBe(0);
        }
        const quoted = answer.bytes.subarray(at + 8);
        expect(quoted).toEqual(packet.bytes.subarray(0, quoted.length));
      }),
    );
  });

  it("never answers an error, a multicast, or a later fragment", () => {
    const out = new Uint8Array(1500);
    const error = ipPacket(FOUR, 1, Uint8Array.of(3, 4, 0, 0, 0, 0, 0, 0));
    const multicast = udpPacket({ ...FOUR, destination: "224.0.0.1" }, new Uint8Array(8));
    const fragment = udpPacket(FOUR, new Uint8Array(64));
    writeU16(fragment, IPV4.fragmentAt, 10);
    for (const bytes of [error, multicast, fragment]) {
      expect(writeTooBig(parsed(bytes), 1000, null, out)).toBe(0);
    }
  });
});

describe("fingerprints", () => {
  const secret = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

  function fingerprint(bytes: Uint8Array, key = secret): string {
    const fingerprinter = new Fingerprinter(key);
    const copy = bytes.slice();
    normalise(copy);
    fingerprinter.take(copy);
    return `${fingerprinter.high}.${fingerprinter.low}`;
  }

  it("do not change with what routers change, and change with anything else", () => {
    fc.assert(
      fc.property(ends, payload, fc.nat(255), fc.nat(), (which, bytes, hops, at) => {
        const before = udpPacket(which, bytes);
        const after = before.slice();
        const isFour = parsed(before).version === 4;
        after[isFour ? IPV4.ttlAt : IPV6.hopLimitAt] = hops;
        if (isFour) writeU16(after, IPV4.checksumAt, at & 0xffff);
        expect(fingerprint(after)).toBe(fingerprint(before));
        const place = parsed(before).transportAt + (at % (bytes.length + 8));
        after[place] = (after[place] ?? 0) ^ 1;
        expect(fingerprint(after)).not.toBe(fingerprint(before));
      }),
    );
  });

  it("of a million packets that differ in a counter are all different", () => {
    const fingerprinter = new Fingerprinter(secret);
    const bytes = new Uint8Array(40);
    const seen = new Set<bigint>();
    for (let i = 0; i < 1e6; i++) {
      new DataView(bytes.buffer).setUint32(20, i);
      fingerprinter.take(bytes);
      seen.add((BigInt(fingerprinter.high) << 32n) | BigInt(fingerprinter.low));
    }
    expect(seen.size).toBe(1e6);
  });

  it("depend on the secret", () => {
    const packet = udpPacket(FOUR, new Uint8Array(20));
    expect(fingerprint(packet, new Uint8Array(8))).not.toBe(fingerprint(packet));
  });

  it("a normalised packet made sendable again has a right header", () => {
    const packet = tcpPacket({ ...FOUR, payload: new Uint8Array(100) });
    const copy = packet.slice();
    normalise(copy);
    makeSendable(copy, 20);
    expect(copy).toEqual(packet);
  });
});

describe("prefixes", () => {
  it("an address is found by the longest prefix it is in", () => {
    const table = new PrefixTable(
      ["10.0.0.0/8", "10.2.0.0/16", "10.2.3.4", "fd00::/16", "fd00:2::/32"].map((text) => ({
        prefix: parsePrefix(text),
        value: text,
      })),
    );
    const find = (text: string): string | null => {
      const { address } = parsePrefix(text);
      return table.find(address, 0, address.length === 4 ? 4 : 16);
    };
    expect(find("10.9.9.9")).toBe("10.0.0.0/8");
    expect(find("10.2.9.9")).toBe("10.2.0.0/16");
    expect(find("10.2.3.4")).toBe("10.2.3.4");
    expect(find("11.0.0.1")).toBeNull();
    expect(find("fd00:2::1")).toBe("fd00:2::/32");
    expect(find("fd00:3::1")).toBe("fd00::/16");
  });

  it("membership is what the bits say", () => {
    fc.assert(
      fc.property(u32, u32, fc.nat(32), (network, host, bits) => {
        const dotted = (n: number): string =>
          [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255].join(".");
        const prefix = parsePrefix(`${dotted(network)}/${bits}`);
        const mask = bits === 0 ? 0 : (-1 << (32 - bits)) >>> 0;
        const isIn = (network & mask) >>> 0 === (host & mask) >>> 0;
        expect(isInPrefix(prefix, parsePrefix(dotted(host)).address, 0)).toBe(isIn);
      }),
    );
  });

  it("nonsense is refused with what to write", () => {
    for (const text of [
      "",
      "10.0.0",
      "10.0.0.0/33",
      "1.2.3.256",
      "::1::",
      "fd00:::1",
      "1.2.3.4/x",
    ]) {
      expect(() => parsePrefix(text), text).toThrow("is not an address and its bits");
    }
  });

  it("flows are written as people write them", () => {
    const key = new Uint8Array(FLOW_KEY_BYTES);
    writeFlowKey(parsed(tcpPacket({ ...SIX, sourcePort: 5, destinationPort: 6 })), "out", key);
    expect([formatEnd(key, "local"), formatEnd(key, "remote")]).toEqual([
      "[fd00:1::2]:5",
      "[fd00:2::3]:6",
    ]);
    writeFlowKey(parsed(tcpPacket({ ...FOUR, sourcePort: 5, destinationPort: 6 })), "in", key);
    expect([formatEnd(key, "local"), formatEnd(key, "remote")]).toEqual([
      "10.2.0.3:6",
      "10.1.0.2:5",
    ]);
  });
});
