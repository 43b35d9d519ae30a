/** Laws of the flow follower: an offset never says more than what left, and says all of it. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Flow, type FlowEnd } from "../../gateway/core/ip/flow.ts";
import { formatEnd } from "../../gateway/core/ip/flow-key.ts";
import { Flows } from "../../gateway/core/ip/flows.ts";
import { TCP_FLAG } from "../../gateway/core/ip/ip.ts";
import { parsed, type Segment, tcpPacket } from "../ip-packets.ts";

const OUT = { source: "10.1.0.2", destination: "10.2.0.3", sourcePort: 40_000 };
const IN = { source: "10.2.0.3", destination: "10.1.0.2", destinationPort: 40_000 };

function followed(
  segment: Partial<Segment>,
  payloadBytes = 0,
  direction: "out" | "in" = "out",
): ReturnType<typeof parsed> {
  const reverse = { ...IN, sourcePort: 7000 };
  const ends = direction === "out" ? OUT : reverse;
  return parsed(tcpPacket({ ...ends, ...segment, payload: new Uint8Array(payloadBytes) }));
}

class World {
  readonly ends: string[] = [];
  readonly flows: Flows;
  private id = 0;

  constructor(options: { capacity?: number; windowPackets?: number; idleMicros?: number } = {}) {
    this.flows = new Flows({
      ...options,
      seed: 1,
      onEnd: (_flow, key, reason: FlowEnd) =>
        this.ends.push(`${formatEnd(key, "local")} ${reason}`),
    });
  }

  send(segment: Partial<Segment>, payloadBytes = 0, nowMicros = 0): number {
    const token = this.flows.notePassed(followed(segment, payloadBytes), nowMicros);
    this.flows.noteSent(this.id, token);
    return this.id++;
  }

  answer(segment: Partial<Segment>, nowMicros = 0): void {
    this.flows.noteReceived(followed(segment, 0, "in"), nowMicros);
  }

  cover(level: number, throughId: number): void {
    this.flows.noteCovered(level, throughId + 1);
  }

  get all(): Flow[] {
    const flows: Flow[] = [];
    this.flows.forEach((flow) => flows.push(flow));
    return flows;
  }

  get only(): Flow {
    const [flow, ...others] = this.all;
    if (flow === undefined || others.length > 0) throw new Error("not one flow");
    return flow;
  }
}

/** What a sender may do, one segment at a time, over a stream of a few kilobytes. */
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("send"), n: fc.integer({ min: 1, max: 400 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("lose"), n: fc.integer({ min: 1, max: 400 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("again"), n: fc.nat(20) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("cover"), n: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("acknowledge"), n: fc.nat(100) }) },
);

describe("one flow against a model that keeps every byte", () => {
  it("what is covered is the longest prefix whose bytes are all in covered packets", () => {
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 1, maxLength: 60 }),
        fc.constantFrom(0, 0x7fffff00, 0xffffff00, 0xffffffff),
        (steps, isn) => {
          const world = new World();
          world.send({ sequence: isn, flags: TCP_FLAG.syn });
          const base = (isn + 1) >>> 0;
          const passedAt = new Map<number, number>();
          const segments: { start: number; length: number }[] = [];
          let end = 0;
          let acknowledged = 0;
          const pass = (start: number, length: number): void => {
            const id = world.send({ sequence: (base + start) >>> 0 }, length);
            for (let i = start; i < start + length; i++) passedAt.set(i, passedAt.get(i) ?? id);
          };
          const prefixThrough = (id: number): number => {
            let offset = 0;
            while ((passedAt.get(offset) ?? Infinity) <= id) offset++;
            return offset;
          };
          const covered = [-1, -1, -1, -1];
          for (const { do: what, n } of steps) {
            if (what === "send") pass(end, n);
            if (what === "send" || what === "lose") {
              segments.push({ start: end, length: n });
              end += n;
            } else if (what === "again" && segments.length > 0) {
              const segment = segments[n % segments.length] ?? { start: 0, length: 1 };
              pass(segment.start, segment.length);
            } else if (what === "acknowledge") {
              acknowledged = Math.max(acknowledged, Math.floor((prefixThrough(1e9) * n) / 100));
              world.answer({ flags: TCP_FLAG.ack, acknowledgment: (base + acknowledged) >>> 0 });
            } else if (what === "cover") {
              const newest = Math.max(0, ...passedAt.values());
              covered[n] = Math.max(covered[n] ?? -1, newest);
              world.cover(n, newest);
            }
          }
          const flow = world.only;
          // MAX_RANGES holes are kept; with more, less may be said, never more.
          const holes = new Set(segments.map(({ start }) => start)).size > 8;
          for (const [level, id] of covered.entries()) {
            const model = prefixThrough(id);
            expect(flow.covered[level]).toBeLessThanOrEqual(model);
            if (!holes) expect(flow.covered[level]).toBe(model);
          }
          expect(flow.acknowledgedOffset).toBe(acknowledged);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("offsets go on past 2^32 bytes", () => {
    const world = new World();
    world.send({ sequence: 100, flags: TCP_FLAG.syn });
    let end = 0;
    for (let round = 1; round <= 20; round++) {
      const start = round * 2 ** 29;
      world.send({ sequence: (101 + start) >>> 0 }, 1000);
      end = start + 1000;
      // The acknowledgement says that what we did not see arrived nevertheless.
      world.answer({ flags: TCP_FLAG.ack, acknowledgment: (101 + end) >>> 0 });
    }
    const id = world.send({ sequence: (101 + end) >>> 0 }, 500);
    world.cover(1, id);
    expect(end).toBeGreaterThan(2 * 2 ** 32);
    expect(world.only.covered[1]).toBe(end + 500);
  });
});

describe("the life of a flow", () => {
  it("handshake, data, FINs and their acknowledgements end it as closed", () => {
    const world = new World();
    world.send({ sequence: 10, flags: TCP_FLAG.syn });
    world.answer({ sequence: 90, acknowledgment: 11, flags: TCP_FLAG.syn | TCP_FLAG.ack });
    world.send({ sequence: 11, flags: TCP_FLAG.ack }, 100);
    world.send({ sequence: 111, flags: TCP_FLAG.ack | TCP_FLAG.fin });
    world.answer({ acknowledgment: 112, flags: TCP_FLAG.ack });
    expect(world.ends).toEqual([]);
    expect(world.only.acknowledgedOffset).toBe(100);
    // Our answer to data of the peer's stands behind our FIN, which is no byte of the stream.
    world.send({ sequence: 112, flags: TCP_FLAG.ack });
    world.answer({ acknowledgment: 112, flags: TCP_FLAG.ack });
    expect(world.only.passedOffset).toBe(100);
    world.answer({ acknowledgment: 112, flags: TCP_FLAG.ack | TCP_FLAG.fin });
    expect(world.ends).toEqual(["10.1.0.2:40000 closed"]);
    expect(world.flows.size).toBe(0);
  });

  it.each(["out", "in"] as const)("a reset from %s ends it", (direction) => {
    const world = new World();
    world.send({ sequence: 10, flags: TCP_FLAG.syn });
    if (direction === "out") world.send({ sequence: 11, flags: TCP_FLAG.rst });
    else world.answer({ flags: TCP_FLAG.rst });
    expect(world.ends).toEqual(["10.1.0.2:40000 reset"]);
  });

  it("a SYN with another sequence number begins a new flow; its retransmission does not", () => {
    const world = new World();
    world.send({ sequence: 10, flags: TCP_FLAG.syn });
    world.send({ sequence: 10, flags: TCP_FLAG.syn });
    expect(world.ends).toEqual([]);
    world.send({ sequence: 5000, flags: TCP_FLAG.syn });
    expect(world.ends).toEqual(["10.1.0.2:40000 replaced"]);
  });

  it("one that was there before us counts from the first byte that we saw", () => {
    const world = new World();
    const id = world.send({ sequence: 0xfffffff0 }, 100);
    world.cover(2, id);
    expect(world.only.isFromStart).toBe(false);
    expect(world.only.covered[2]).toBe(100);
  });

  it("bytes that the peer names by SACK count as passed", () => {
    const world = new World();
    world.send({ sequence: 0, flags: TCP_FLAG.syn });
    world.send({ sequence: 301 }, 100);
    // Offsets 200 to 300 went past us; 400 is the highest that passed.
    const sack = Uint8Array.of(1, 1, 5, 10, 0, 0, 0, 201, 0, 0, 1, 45);
    world.answer({ flags: TCP_FLAG.ack, acknowledgment: 201, options: sack });
    expect(world.only.passedOffset).toBe(400);
  });

  it("an acknowledgement of what never passed is not believed", () => {
    const world = new World();
    world.send({ sequence: 0, flags: TCP_FLAG.syn });
    const id = world.send({ sequence: 1 }, 100);
    world.answer({ flags: TCP_FLAG.ack, acknowledgment: 1_000_001 });
    world.cover(1, id);
    expect(world.only.acknowledgedOffset).toBe(0);
    expect(world.only.covered[1]).toBe(100);
  });

  it("one of which nothing is seen expires; the others stay", () => {
    const world = new World({ idleMicros: 1000 });
    world.send({ sequence: 0, flags: TCP_FLAG.syn, sourcePort: 1 }, 0, 0);
    world.send({ sequence: 0, flags: TCP_FLAG.syn, sourcePort: 2 }, 0, 900);
    world.flows.expire(1500);
    expect(world.ends).toEqual(["10.1.0.2:1 expired"]);
    expect(world.flows.size).toBe(1);
  });
});

describe("bounds", () => {
  it("ten thousand connections share 64 slots, and the least used goes", () => {
    const world = new World({ capacity: 64 });
    for (let i = 0; i < 10_000; i++) {
      world.send({ sequence: 0, flags: TCP_FLAG.syn, sourcePort: 1 + (i % 60_000) });
      world.send({ sequence: 0, flags: TCP_FLAG.syn, sourcePort: 60_001 });
    }
    expect(world.flows.size).toBeLessThanOrEqual(64);
    expect(world.ends).not.toContain("10.1.0.2:60001 evicted");
    expect(world.ends).toHaveLength(10_000 + 1 - world.flows.size);
  });

  it("coverage that lags further than the window says nothing wrong", () => {
    const world = new World({ windowPackets: 64 });
    world.send({ sequence: 0xffffffff, flags: TCP_FLAG.syn });
    let id = 0;
    for (let i = 0; i < 1000; i++) id = world.send({ sequence: i * 10 }, 10);
    world.cover(1, 10);
    expect(world.only.covered[1]).toBe(0);
    world.cover(1, id);
    expect(world.only.covered[1]).toBe(10_000);
  });

  it("a slot's next flow is not told of its predecessor's packets", () => {
    const world = new World({ capacity: 2 });
    world.send({ sequence: 0, flags: TCP_FLAG.syn, sourcePort: 1 });
    const id = world.send({ sequence: 1, sourcePort: 1 }, 500);
    world.send({ sequence: 0, flags: TCP_FLAG.syn, sourcePort: 2 });
    world.send({ sequence: 0, flags: TCP_FLAG.syn, sourcePort: 3 });
    world.cover(1, id);
    expect(world.all.map((flow) => flow.covered[1])).toEqual([0, 0]);
  });

  it("what changed is handed out once", () => {
    const world = new World();
    const id = world.send({ sequence: 5 }, 10);
    world.cover(1, id);
    const changes: number[] = [];
    world.flows.drainChanged((flow) => changes.push(flow.covered[1] ?? -1));
    world.flows.drainChanged((flow) => changes.push(flow.covered[1] ?? -1));
    expect(changes).toEqual([10]);
  });
});
