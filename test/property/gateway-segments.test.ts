/** Laws of cutting and joining TCP packets: nothing changes but the sizes. */
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { checksum, undoneChecksum } from "../../gateway/core/ip/ip-checksum.ts";
import { TCP_FLAG } from "../../gateway/core/ip/ip.ts";
import { readU16, readU32 } from "../../gateway/core/ip/network-order.ts";
import {
  Joiner,
  MAX_IP_BYTES,
  segmentCount,
  writeSegment,
} from "../../gateway/core/ip/segments.ts";
import { parsed, tcpPacket } from "../ip-packets.ts";

const FOUR = { source: "10.1.0.2", destination: "10.2.0.3" };
const SIX = { source: "fd00:1::2", destination: "fd00:2::3" };
const ends = fc.constantFrom(FOUR, SIX);
const TIMESTAMPS = Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2);
const ACK_PSH = 0x18;
const CWR = 0x80;

function cut(bytes: Uint8Array, segmentBytes: number): Uint8Array[] {
  const packet = parsed(bytes);
  return Array.from({ length: segmentCount(packet, segmentBytes) }, (_, i) => {
    const out = new Uint8Array(2000).fill(0xaa);
    return out.slice(7, 7 + writeSegment(packet, segmentBytes, i, out, 7));
  });
}

function big(which: typeof FOUR, payloadBytes: number, flags: number, sequence = 0xfffffff0) {
  const payload = Uint8Array.from({ length: payloadBytes }, (_, i) => i * 7);
  return tcpPacket({ ...which, sequence, flags, payload, options: TIMESTAMPS });
}

it("the segments carry the payload in order, under right headers with their checksum undone", () => {
  fc.assert(
    fc.property(
      ends,
      fc.integer({ min: 1, max: 20_000 }),
      fc.integer({ min: 200, max: 1400 }),
      (which, payloadBytes, segmentBytes) => {
        const whole = parsed(big(which, payloadBytes, ACK_PSH | TCP_FLAG.fin | CWR));
        let sequence = whole.sequence;
        const segments = cut(whole.bytes, segmentBytes);
        for (const [i, bytes] of segments.entries()) {
          const segment = parsed(bytes);
          const isLast = i === segments.length - 1;
          expect(segment.sequence).toBe(sequence);
          sequence = (sequence + segment.payloadBytes) >>> 0;
          if (!isLast) expect(segment.payloadBytes).toBe(segmentBytes);
          expect(segment.hasFlag("fin")).toBe(isLast);
          expect((segment.flags & CWR) !== 0).toBe(i === 0);
          if (segment.version === 4) {
            expect(checksum(bytes, 0, 20)).toBe(0);
            expect(readU16(bytes, 4)).toBe((readU16(whole.bytes, 4) + i) & 0xffff);
          }
          const length = bytes.length - segment.transportAt;
          expect(readU16(bytes, segment.transportAt + 16)).toBe(undoneChecksum(segment, length));
        }
        const payload = segments.flatMap((bytes) => [
          ...bytes.subarray(-parsed(bytes).payloadBytes),
        ]);
        expect(Uint8Array.from(payload)).toEqual(whole.bytes.subarray(-payloadBytes));
      },
    ),
    { numRuns: 50 },
  );
});

it("what was cut is joined again to what it was", () => {
  fc.assert(
    fc.property(
      ends,
      fc.integer({ min: 1, max: 20_000 }),
      fc.integer({ min: 200, max: 1400 }),
      (which, payloadBytes, segmentBytes) => {
        const whole = big(which, payloadBytes, ACK_PSH);
        const out = new Uint8Array(10 + MAX_IP_BYTES);
        const joiner = new Joiner(out, 10);
        for (const [i, bytes] of cut(whole, segmentBytes).entries()) {
          if (i === 0) joiner.start(parsed(bytes));
          else expect(joiner.append(parsed(bytes))).toBe(true);
        }
        const { length } = joiner;
        const joined = parsed(whole.slice());
        joiner.finish(joined);
        const expected = whole.slice();
        const at = parsed(whole).transportAt + 16;
        expected.set(out.subarray(10 + at, 10 + at + 2), at);
        expect(out.subarray(10, 10 + length)).toEqual(expected);
        expect(readU16(out, 10 + at)).toBe(undoneChecksum(joined, length - joined.transportAt));
      },
    ),
    { numRuns: 50 },
  );
});

it.each([
  ["another flow", { sourcePort: 9 }],
  ["a hole", { sequence: 1101 }],
  ["a FIN", { flags: ACK_PSH | TCP_FLAG.fin }],
  ["another acknowledgement", { acknowledgment: 5 }],
  ["other options", { options: TIMESTAMPS }],
  ["no payload", { payload: new Uint8Array(0) }],
  ["a longer packet", { payload: new Uint8Array(101) }],
])("%s is not joined", (_, other) => {
  const base = { ...FOUR, sequence: 1000, flags: TCP_FLAG.ack, payload: new Uint8Array(100) };
  const joiner = new Joiner(new Uint8Array(MAX_IP_BYTES), 0);
  joiner.start(parsed(tcpPacket(base)));
  const next = { ...base, sequence: 1100 };
  expect(joiner.append(parsed(tcpPacket({ ...next, ...other })))).toBe(false);
  expect(joiner.append(parsed(tcpPacket(next)))).toBe(true);
});

it("nothing follows a short packet, and no joined packet is longer than IP allows", () => {
  const joiner = new Joiner(new Uint8Array(MAX_IP_BYTES), 0);
  const packet = (sequence: number, bytes: number) =>
    parsed(tcpPacket({ ...FOUR, sequence, flags: TCP_FLAG.ack, payload: new Uint8Array(bytes) }));
  joiner.start(packet(0, 100));
  expect(joiner.append(packet(100, 99))).toBe(true);
  expect(joiner.append(packet(199, 99))).toBe(false);
  joiner.start(packet(0, 1400));
  let sequence = 1400;
  while (joiner.append(packet(sequence, 1400))) sequence += 1400;
  expect(joiner.length).toBeLessThanOrEqual(MAX_IP_BYTES);
  expect(joiner.count).toBe(Math.floor((MAX_IP_BYTES - 40) / 1400));
  expect(readU32(parsed(tcpPacket({ ...FOUR, sequence })).bytes, 24)).toBe(sequence);
});
