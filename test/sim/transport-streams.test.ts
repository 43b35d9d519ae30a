/** Several ordered streams in one association: whole, in order, and none waits for another. */
import { describe, expect, it } from "vitest";
import { MAX_STREAMS } from "../../gateway/core/transport/packets.ts";
import type { StreamHandler } from "../../gateway/core/transport/streams.ts";
import type { LinkChanges } from "../../netem/core/settings.ts";
import { World } from "./transport-world.ts";

const MILLISECOND = 1000;
const SECOND = 1_000_000;

/** The byte of a stream at a place. */
function byteAt(stream: number, offset: number): number {
  return Math.imul(offset + 1 + 7919 * stream, 0x9e3779b1) >>> 24;
}

/** One side's streams: writes patterns, and checks those that come. */
class Streams implements StreamHandler {
  readonly received = new Map<number, number>();
  wrongBytes = 0;
  private readonly toWrite = new Map<number, number>();
  world: World | null = null;

  onStreamData(stream: number, bytes: Uint8Array): void {
    let offset = this.received.get(stream) ?? 0;
    for (const byte of bytes) if (byte !== byteAt(stream, offset++)) this.wrongBytes++;
    this.received.set(stream, offset);
  }

  onStreamProgress(stream: number): void {
    this.fill(stream);
  }

  write(stream: number, bytes: number): void {
    this.toWrite.set(stream, (this.toWrite.get(stream) ?? 0) + bytes);
    this.fill(stream);
  }

  private fill(stream: number): void {
    const out = this.world?.a.link.stream(stream) ?? null;
    const waiting = this.toWrite.get(stream) ?? 0;
    if (out === null || waiting === 0) return;
    const length = Math.min(waiting, out.writableBytes);
    const start = out.writtenOffset;
    out.write(Uint8Array.from({ length }, (_, i) => byteAt(stream, start + i)));
    this.toWrite.set(stream, waiting - length);
  }
}

function connected(seed: number, path: LinkChanges = {}): [World, Streams, Streams] {
  const [a, b] = [new Streams(), new Streams()];
  const world = new World({ seed, path, streams: [a, b] });
  a.world = world;
  expect(world.run(5 * SECOND, () => world.a.ups === 1 && world.b.ups === 1)).toBe(true);
  return [world, a, b];
}

describe("streams", () => {
  it("arrive whole and in order beside the link, over a bad line", () => {
    const [world, a, b] = connected(1, {
      delayMicros: 20 * MILLISECOND,
      loss: { kind: "bursts", share: 0.03, meanPackets: 8 },
      reorderShare: 0.02,
    });
    const bytes = 300_000;
    for (let stream = 1; stream < MAX_STREAMS; stream++) a.write(stream, bytes);
    world.a.write(bytes);
    const isDone = () =>
      world.b.receivedOffset === bytes &&
      b.received.size === MAX_STREAMS - 1 &&
      [...b.received.values()].every((received) => received === bytes);
    expect(world.run(60 * SECOND, isDone), world.describe()).toBe(true);
    expect([b.wrongBytes, world.b.wrongBytes]).toEqual([0, 0]);
  });

  it("share the line evenly while all have something to send", () => {
    const [world, a, b] = connected(2, { rateBitsPerSecond: 1e8, delayMicros: MILLISECOND });
    world.a.write(8 * 2 ** 20);
    for (const stream of [1, 2, 3]) a.write(stream, 8 * 2 ** 20);
    world.run(world.nowMicros + 300 * MILLISECOND);
    const shares = [world.b.receivedOffset, ...b.received.values()];
    expect(shares).toHaveLength(4);
    expect(Math.min(...shares)).toBeGreaterThan(200_000);
    expect(Math.max(...shares) / Math.min(...shares)).toBeLessThan(1.1);
  });

  it("that lost a packet hold up no other", () => {
    const [world, a, b] = connected(3, { delayMicros: 50 * MILLISECOND });
    world.aToB.cut();
    a.write(1, 1000);
    world.run(world.nowMicros + MILLISECOND);
    world.aToB.restore();
    a.write(2, 1000);
    world.run(world.nowMicros + 51 * MILLISECOND);
    expect([b.received.get(1), b.received.get(2)]).toEqual([undefined, 1000]);
  });

  it("hold up nothing that is safe of the link", () => {
    const [world, a] = connected(4, { delayMicros: 50 * MILLISECOND });
    world.aToB.cut();
    a.write(1, 1000);
    world.run(world.nowMicros + MILLISECOND);
    world.aToB.restore();
    world.a.write(4096);
    world.a.link.hurry(4096);
    const isSafe = () => world.a.link.safeOffset === 4096;
    expect(world.run(world.nowMicros + 20 * MILLISECOND, isSafe)).toBe(true);
  });

  it("begin at 0 with every session, and there are no more than the format has", () => {
    const [world, a, b] = connected(5);
    a.write(1, 1000);
    world.run(world.nowMicros + 100 * MILLISECOND);
    expect(b.received.get(1)).toBe(1000);
    world.restartResponder();
    expect(world.a.link.stream(1)?.writtenOffset).toBe(1000);
    expect(world.run(world.nowMicros + 9 * SECOND, () => world.b.ups === 1)).toBe(true);
    expect(world.a.link.stream(1)?.writtenOffset).toBe(0);
    expect(() => world.a.link.stream(MAX_STREAMS)).toThrow(/no such stream/);
  });
});
