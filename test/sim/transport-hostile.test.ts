/** Outages, restarts, wrong keys and hostile datagrams: clear events, no crash, no damage. */
import { describe, expect, it } from "vitest";
import { World } from "./transport-world.ts";

const SECOND = 1_000_000;
const MEGABYTE = 2 ** 20;

function connected(seed: number): World {
  const world = new World({ seed });
  expect(world.run(SECOND, () => world.a.ups === 1 && world.b.ups === 1)).toBe(true);
  return world;
}

describe("outages", () => {
  it("a blackout of a minute ends the session, and both sides begin again at 0", () => {
    const world = connected(1);
    world.a.write(MEGABYTE);
    world.run(world.nowMicros + 2000);
    world.aToB.cut();
    world.bToA.cut();
    world.run(world.nowMicros + 60 * SECOND);
    expect(world.a.events).toEqual(["up", "lost: nothing was received for 5 s"]);
    expect(world.b.events).toEqual(["up", "lost: nothing was received for 5 s"]);
    world.aToB.restore();
    world.bToA.restore();
    expect(world.run(world.nowMicros + 6 * SECOND, () => world.b.ups === 2)).toBe(true);
    expect(world.a.link.writtenOffset).toBe(0);
    world.a.write(MEGABYTE);
    const isDone = () => world.b.receivedOffset === MEGABYTE;
    expect(world.run(world.nowMicros + 10 * SECOND, isDone), world.describe()).toBe(true);
    expect(world.b.wrongBytes).toBe(0);
  });

  it("a second without a packet is survived by the session", () => {
    const world = connected(2);
    world.a.write(8 * MEGABYTE);
    world.run(world.nowMicros + 20_000);
    world.aToB.cut();
    world.run(world.nowMicros + SECOND);
    world.aToB.restore();
    const isDone = () => world.b.receivedOffset === 8 * MEGABYTE;
    expect(world.run(world.nowMicros + 20 * SECOND, isDone), world.describe()).toBe(true);
    expect(world.a.ups).toBe(1);
    expect(world.b.wrongBytes).toBe(0);
  });

  it("one dead direction brings both sides down", () => {
    const world = connected(3);
    world.aToB.cut();
    world.run(world.nowMicros + 12 * SECOND);
    expect(world.a.link.up || world.b.link.up, world.describe()).toBe(false);
    expect(world.a.events.at(-1)).toMatch(/^lost/);
    expect(world.b.events.at(-1)).toMatch(/^lost/);
  });

  it("an idle session stays up", () => {
    const world = connected(4);
    world.run(world.nowMicros + 600 * SECOND);
    expect(world.a.events).toEqual(["up"]);
    expect(world.b.events).toEqual(["up"]);
    expect(world.a.link.statistics.datagramsSent).toBeLessThan(2000);
  });
});

describe("restarts", () => {
  it("a responder that restarts is found again", () => {
    const world = connected(5);
    world.a.write(MEGABYTE);
    world.run(world.nowMicros + 3000);
    world.restartResponder();
    expect(world.run(world.nowMicros + 20 * SECOND, () => world.b.ups === 1)).toBe(true);
    expect(world.a.events[1]).toMatch(/^lost/);
    world.a.write(MEGABYTE);
    const isDone = () => world.b.receivedOffset === MEGABYTE;
    expect(world.run(world.nowMicros + 5 * SECOND, isDone), world.describe()).toBe(true);
  });

  it.each([1000, 50_000])("is back within 3 round trips, %i µs one way", (delayMicros) => {
    const world = new World({ seed: 15, path: { delayMicros } });
    world.a.write(MEGABYTE);
    world.run(20 * delayMicros);
    world.a.write(8 * MEGABYTE);
    world.restartResponder();
    const start = world.nowMicros;
    expect(
      world.run(start + 6 * delayMicros, () => world.b.ups === 1),
      world.describe(),
    ).toBe(true);
    expect(world.a.events).toEqual(["up", "lost: the peer lost the session", "up"]);
    world.a.write(MEGABYTE);
    const isDone = () => world.b.receivedOffset >= MEGABYTE;
    expect(world.run(world.nowMicros + 5 * SECOND, isDone), world.describe()).toBe(true);
    expect(world.b.wrongBytes).toBe(0);
  });

  it("a responder that restarts while nothing is sent is found by the next ping", () => {
    const world = connected(16);
    world.run(world.nowMicros + 10 * SECOND);
    world.restartResponder();
    const isBack = world.run(world.nowMicros + 1.1 * SECOND, () => world.b.ups === 1);
    expect(isBack, world.describe()).toBe(true);
  });

  it("an initiator that restarts replaces its old session at once", () => {
    const world = connected(6);
    world.run(world.nowMicros + 20_000);
    world.restartInitiator();
    // Three round trips.
    expect(world.run(world.nowMicros + 6000, () => world.b.ups === 2)).toBe(true);
    expect(world.b.events).toEqual(["up", "lost: the peer began a new session", "up"]);
  });

  it("close is told to the peer, which calls again", () => {
    const world = connected(7);
    world.b.link.close();
    world.run(world.nowMicros + SECOND);
    expect(world.a.events[1]).toBe("closed: the peer closed the link");
    expect(world.b.link.nextTimeoutMicros()).toBe(Infinity);
    world.restartResponder();
    expect(world.run(world.nowMicros + 6 * SECOND, () => world.a.ups === 2)).toBe(true);
  });
});

describe("keys", () => {
  it("a wrong key is a clear sentence on both sides, once", () => {
    const world = new World({ seed: 8, responderKey: new Uint8Array(32).fill(9) });
    world.run(30 * SECOND);
    expect(world.a.events).toEqual([
      "refused: the peer does not accept our key: compare key_file on both sides (unauthenticated notice)",
    ]);
    expect(world.b.events).toEqual([
      "refused: somebody who does not have our key tried to connect: compare key_file on both sides",
    ]);
    expect(world.b.link.statistics.rejectedDatagrams).toBeGreaterThan(1);
  });

  it("another protocol version is a clear sentence on both sides", () => {
    const world = new World({ seed: 9 });
    world.recorded = [];
    world.aToB.cut();
    world.run(1);
    const init = world.recorded[0] ?? new Uint8Array();
    init[1] = 9;
    world.inject(init);
    world.run(SECOND / 10);
    expect(world.b.events).toEqual([
      "refused: somebody who speaks another protocol version tried to connect",
    ]);
    expect(world.a.events).toEqual([
      "refused: the peer speaks protocol version 2, this side 2 (unauthenticated notice)",
    ]);
  });

  it("forged notices of a lost session cost a handshake a second and disturb nothing", () => {
    const world = connected(17);
    world.recorded = [];
    world.a.write(8 * MEGABYTE);
    world.run(world.nowMicros + 10_000);
    const sealed = world.recorded[0] ?? new Uint8Array();
    const notice = Uint8Array.from([4, 2, 3, 0, ...sealed.subarray(4, 8)]);
    for (let i = 0; i < 400; i++) {
      world.a.link.handleDatagram(notice, world.nowMicros);
      world.run(world.nowMicros + 10_000);
    }
    const inits = world.recorded.filter((datagram) => datagram[0] === 1).length;
    expect(inits).toBeGreaterThanOrEqual(4);
    expect(inits).toBeLessThanOrEqual(5);
    expect(world.a.events, world.describe()).toEqual(["up"]);
    expect(world.b.events).toEqual(["up"]);
    expect(world.b.receivedOffset).toBe(8 * MEGABYTE);
    expect(world.b.wrongBytes).toBe(0);
  });

  it("a notice of a session that is not ours leads to nothing", () => {
    const world = connected(18);
    world.recorded = [];
    world.a.link.handleDatagram(Uint8Array.from([4, 2, 3, 0, 1, 2, 3, 4]), world.nowMicros);
    world.run(world.nowMicros + 10_000);
    expect(world.recorded.filter((datagram) => datagram[0] === 1)).toEqual([]);
  });

  it("a forged notice does not end a session", () => {
    const world = connected(10);
    world.a.link.handleDatagram(Uint8Array.from([4, 2, 1, 0, 1, 2, 3, 4]), world.nowMicros);
    expect(world.a.link.up).toBe(true);
    expect(world.a.events).toEqual(["up"]);
  });
});

describe("hostile datagrams", () => {
  it("replayed datagrams are counted and change nothing", () => {
    const world = new World({ seed: 11 });
    world.recorded = [];
    world.a.write(MEGABYTE / 4);
    world.run(3 * SECOND);
    const before = { ...world.b.link.statistics };
    const { recorded } = world;
    world.recorded = null;
    for (const datagram of recorded) world.inject(datagram);
    const after = world.b.link.statistics;
    expect(recorded.length).toBeGreaterThan(200);
    expect(after.rejectedDatagrams - before.rejectedDatagrams).toBe(recorded.length);
    expect(after.datagramsSent).toBe(before.datagramsSent);
    expect(world.b.events).toEqual(["up"]);
    expect(world.b.receivedOffset).toBe(MEGABYTE / 4);
  });

  it("a replayed init after the responder restarted opens nothing", () => {
    const world = new World({ seed: 12 });
    world.recorded = [];
    world.run(SECOND);
    const { recorded } = world;
    world.recorded = null;
    world.killInitiator();
    world.restartResponder();
    for (const datagram of recorded) world.inject(datagram);
    world.run(world.nowMicros + SECOND);
    expect(world.b.events).toEqual([]);
  });

  it.each(["flipped", "truncated", "extended"])("%s datagrams are counted and dropped", (how) => {
    const world = new World({ seed: 13 });
    world.recorded = [];
    world.aToB.cut();
    world.run(1000);
    world.aToB.restore();
    world.run(SECOND, () => world.b.ups === 1);
    world.recorded = [];
    world.aToB.cut();
    world.a.write(MEGABYTE / 4);
    world.run(world.nowMicros + 10_000);
    const before = world.b.link.statistics.rejectedDatagrams;
    for (const datagram of world.recorded) world.inject(damage(world, datagram, how));
    expect(world.recorded.length).toBeGreaterThan(100);
    expect(world.b.link.statistics.rejectedDatagrams - before).toBe(world.recorded.length);
    expect(world.b.receivedOffset).toBe(0);
    expect(world.b.events).toEqual(["up"]);
  });

  it("a flood of random bytes is answered by little and keeps the session", () => {
    const world = connected(14);
    const { prng } = world;
    const before = { ...world.b.link.statistics };
    for (let i = 0; i < 20_000; i++) {
      const bytes = prng.fill(new Uint8Array(prng.below(120)));
      if (prng.chance(0.8)) bytes.set([1 + prng.below(4), 2].slice(0, bytes.length));
      world.inject(bytes);
    }
    const after = world.b.link.statistics;
    expect(after.rejectedDatagrams - before.rejectedDatagrams).toBe(20_000);
    expect(after.datagramsSent - before.datagramsSent).toBeLessThanOrEqual(2);
    expect(world.b.events).toEqual(["up"]);
  });
});

function damage(world: World, datagram: Uint8Array, how: string): Uint8Array {
  const { prng } = world;
  if (how === "truncated") return datagram.slice(0, prng.below(datagram.length));
  if (how === "extended") return Uint8Array.from([...datagram, prng.below(256)]);
  const damaged = datagram.slice();
  const at = prng.below(damaged.length);
  damaged[at] = (damaged[at] ?? 0) ^ (1 << prng.below(8));
  return damaged;
}
