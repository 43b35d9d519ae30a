/** What a primary may believe of a mirror whose disk is slow, full or broken. */
import { describe, expect, it } from "vitest";
import type { LinkHandler } from "../../gateway/core/transport/link.ts";
import { concatBytes } from "../../lib/bytes.ts";
import { frame, FRAME, Probe } from "../../mirror/core/messages.ts";
import type { VirtualClock } from "../sim/clock.ts";
import { SimulatedDisk } from "../sim/disk.ts";
import { MirrorSide, MirrorWorld, ONE_WAY_MICROS } from "../mirror-world.ts";

const SECOND = 1_000_000;
const SLOW_SYNC_MICROS = 20 * SECOND;
/** More than the pipe, the mirror's disk and a frame hold. */
const RECORDS = 300;
const PACKET_BYTES = 1200;
/** A packet that is not full leaves after this. */
const LAST_PACKET_MICROS = 3000;

function worldWith(disk: (world: MirrorWorld) => SimulatedDisk) {
  const world = new MirrorWorld();
  const mirror = new MirrorSide(world.clock, disk(world));
  mirror.session.attach(world.pipe.b);
  const join = (): void => world.pipe.join(world.primary, mirror.session);
  join();
  return { world, mirror, join };
}

describe("after a reconnection", () => {
  it("what the mirror has not synced yet is not durable there", () => {
    const { world, mirror, join } = worldWith(
      ({ clock }) => new SimulatedDisk(clock.schedule, { syncMicros: SLOW_SYNC_MICROS }),
    );
    world.clock.advance(3 * SLOW_SYNC_MICROS);
    const before = world.primary.durableSequence;
    for (let i = 0; i < 10; i++) world.append();
    world.clock.advance(SECOND);
    const head = world.log.head.sequence;
    expect(mirror.log?.head.sequence).toBe(head);
    world.pipe.break("cable cut");
    join();
    world.clock.advance(SECOND);
    expect(mirror.log?.durableSequence).toBeLessThan(head);
    expect(world.primary.durableSequence).toBe(before);
    world.clock.advance(3 * SLOW_SYNC_MICROS);
    expect(world.primary.durableSequence).toBe(head);
  });

  it("a mirror whose disk has failed refuses, and nothing counts as durable there", () => {
    const { world, mirror, join } = worldWith(({ clock }) => new SimulatedDisk(clock.schedule));
    world.clock.advance(SECOND);
    const before = world.primary.durableSequence;
    mirror.disk.failNextSync("the disk is dying");
    world.append();
    world.clock.advance(SECOND);
    expect(world.primary.state).toBe("refused");
    world.pipe.break("cable cut");
    join();
    world.clock.advance(SECOND);
    expect(world.primary.state).toBe("refused");
    expect(world.primary.reason).toContain("the disk is dying");
    expect(world.primary.durableSequence).toBe(before);
  });
});

/** Hands bytes on in pieces of one length that know no frames, as a stream of packets does. */
function inPackets(handler: LinkHandler, clock: VirtualClock): LinkHandler {
  let waiting: Uint8Array = new Uint8Array(0);
  const handOn = (bytes: number): void => {
    const piece = waiting.slice(0, bytes);
    waiting = waiting.slice(bytes);
    if (piece.length > 0) handler.onData(piece);
  };
  return {
    onUp: () => handler.onUp(),
    onDown: (code, reason) => handler.onDown(code, reason),
    onWritable: () => handler.onWritable(),
    onProgress: () => handler.onProgress(),
    onData: (bytes) => {
      waiting = concatBytes([waiting, bytes]);
      while (waiting.length >= PACKET_BYTES) handOn(PACKET_BYTES);
      clock.schedule(LAST_PACKET_MICROS, () => handOn(PACKET_BYTES));
    },
  };
}

describe("a full mirror", () => {
  it.each([
    { bodyBytes: 4000, pauseMicros: 1000 },
    { bodyBytes: 9000, pauseMicros: 1000 },
    { bodyBytes: 4000, pauseMicros: 0 },
    { bodyBytes: 9000, pauseMicros: 0 },
  ])(
    "goes on by itself once it has room, however its frames were cut ($bodyBytes bytes every $pauseMicros us)",
    ({ bodyBytes, pauseMicros }) => {
      const { world, mirror } = worldWith(
        ({ clock }) => new SimulatedDisk(clock.schedule, { capacityBytes: 100 * 1024 }),
      );
      world.pipe.join(world.primary, inPackets(mirror.session, world.clock));
      for (let i = 0; i < RECORDS; i++) {
        world.append(bodyBytes);
        world.clock.advance(pauseMicros);
      }
      world.clock.advance(3 * SECOND);
      expect(world.primary.state).toBe("refused");
      mirror.disk.resize(64 * 2 ** 20);
      world.clock.advance(30 * SECOND);
      expect(world.primary.state).toBe("streaming");
      expect(mirror.log?.head.sequence).toBe(world.log.head.sequence);
      expect(MirrorWorld.image(mirror.disk)).toBe(MirrorWorld.image(world.primaryDisk));
    },
  );
});

it("a primary that offers its log again first ends the frame that the link had no room for", () => {
  const world = new MirrorWorld();
  for (let i = 0; i < RECORDS; i++) world.append(4000);
  world.join();
  world.clock.advance(3 * ONE_WAY_MICROS);
  expect(world.pipe.a.writableBytes).toBe(0);
  world.primary.onData(frame(FRAME.probe, Probe, { sequence: 1 }));
  expect(world.primary.state).toBe("refused");
  world.clock.advance(30 * SECOND);
  expect(world.primary.state).toBe("streaming");
  expect(MirrorWorld.image(world.mirror.disk)).toBe(MirrorWorld.image(world.primaryDisk));
});
