/**
 * Every decoder of the transport on changed datagrams: from outside, where nothing but counters may
 * change, and from a peer that has the keys and has gone mad, where nothing may break but its session.
 * Changes know the layouts: valid beginnings with other ends, fields at their limits, cut and longer.
 * The simulator's cipher does not hide anything, so that inner packets can be changed and sealed.
 */
import { describe, expect, it } from "vitest";
import { DATAGRAM, INNER, SealedHeader, TAG_BYTES } from "../../gateway/core/transport/packets.ts";
import type { SealedChannel } from "../../gateway/core/transport/sealed.ts";
import { equalBytes } from "../../lib/bytes.ts";
import type { Prng } from "../../lib/prng.ts";
import { type Side, World } from "../sim/transport-world.ts";

const SECOND = 1_000_000;
const LIMITS = [0, 1, 0x7f, 0x80, 0xff];
const SEEDS = Array.from({ length: 6 }, (_, i) => i + 1);

function changed(prng: Prng, all: readonly Uint8Array[]): Uint8Array {
  const pick = (): Uint8Array => all[prng.below(all.length)] ?? new Uint8Array();
  const bytes = pick().slice();
  switch (prng.below(5)) {
    case 0:
      return bytes.slice(0, prng.below(bytes.length + 1));
    case 1:
      return Uint8Array.from([...bytes, ...prng.fill(new Uint8Array(prng.below(40)))]);
    case 2: {
      const at = prng.below(bytes.length + 1);
      return Uint8Array.from([...bytes.subarray(0, at), ...pick().subarray(at)]);
    }
    case 3: {
      const at = prng.below(Math.min(bytes.length, 64));
      const width = 1 << prng.below(4);
      bytes.fill(LIMITS[prng.below(LIMITS.length)] ?? 0, at, at + width);
      return bytes;
    }
    default:
      for (let i = 0; i <= prng.below(4); i++) bytes[prng.below(bytes.length)] = prng.below(256);
      return bytes;
  }
}

/** A world in which data, repairs, acks, pings and a change of keys have been seen. */
function livedIn(seed: number): { world: World; recorded: Uint8Array[] } {
  const config = { rekeyMicros: SECOND };
  const path = { loss: { kind: "independent", share: 0.02 } as const };
  const world = new World({ seed, config, path });
  world.recorded = [];
  world.a.write(100_000);
  world.b.write(50_000);
  world.run(3 * SECOND);
  const { recorded } = world;
  world.recorded = null;
  expect(new Set(recorded.map(([type]) => type))).toContain(DATAGRAM.sealed);
  return { world, recorded };
}

describe("from outside", () => {
  it.each(SEEDS)("changed datagrams move nothing but counters, seed %i", (seed) => {
    const { world, recorded } = livedIn(seed);
    const { prng } = world;
    const events = [world.a.events.length, world.b.events.length];
    const notices = [1, 2, 3].map((code) => Uint8Array.from([4, 2, code, 0, 1, 2, 3, 4]));
    for (let i = 0; i < 3000; i++) {
      const bytes = changed(prng, [...recorded.slice(0, 40), ...notices]);
      // Unchanged after all: one that was lost may well arrive now.
      if (recorded.some((each) => equalBytes(each, bytes))) continue;
      for (const side of [world.a, world.b]) {
        const verdict = side.link.handleDatagram(bytes, world.nowMicros);
        expect(verdict, `seed ${seed}, change ${i}`).toBe("unknown");
      }
    }
    expect([world.a.events.length, world.b.events.length]).toEqual(events);
    world.a.write(100_000);
    const isDone = () => world.b.receivedOffset === 200_000;
    expect(world.run(world.nowMicros + 10 * SECOND, isDone), world.describe()).toBe(true);
    expect(world.b.wrongBytes).toBe(0);
  });
});

describe("from a peer that has the keys", () => {
  it.each(SEEDS)("changed inner packets break nothing but the session, seed %i", (seed) => {
    const { world, recorded } = livedIn(seed);
    const { prng } = world;
    const inners = recorded
      .filter(([type]) => type === DATAGRAM.sealed)
      .map((datagram) => datagram.slice(SealedHeader.size, -TAG_BYTES));
    const kinds = new Set(inners.map(([kind]) => kind));
    expect(kinds.size, "kinds of inner packets").toBeGreaterThanOrEqual(5);
    let injected = 0;
    for (let i = 0; i < 2000 && world.b.link.up; i++) {
      const channel = channelOf(world.a);
      if (channel === null) break;
      const inner = changed(prng, inners).subarray(0, 1400);
      if (inner[0] === INNER.close) continue;
      injected++;
      const datagram = new Uint8Array(inner.length + SealedHeader.size + TAG_BYTES);
      channel.seal(inner, datagram);
      world.inject(datagram);
      if (i % 100 === 0) world.run(world.nowMicros + 1000);
    }
    expect(injected, "only a close ends the session").toBeGreaterThan(1500);
    world.run(world.nowMicros + SECOND);
  });
});

function channelOf({ link }: Side): SealedChannel | null {
  const { session } = link as unknown as { session: { channel: SealedChannel } | null };
  return session?.channel ?? null;
}
