import { writeFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ip } from "../../sys/iproute.ts";
import { setScheduling } from "../../sys/scheduling.ts";
import { interfacesOf, namespace, namespaceExists } from "../namespaces.ts";
import { AS_NOBODY, MAIN, Scene, whyNoNobody } from "./harness.ts";
import {
  exitCode,
  leastOf,
  median,
  type Probes,
  TunWorld,
  twoNames,
  whyNoPath,
} from "./tun-world.ts";

const whyNot = whyNoPath();
const reason = whyNot === undefined ? "" : ` (skipped: ${whyNot})`;
/** A machine that is busy with something else may be away once, not every time. */
const ROUNDS = 4;
const IP_UDP_BYTES = 28;
/** Slow enough for a busy machine: the device's queue takes 250 ms of it. */
const PACKETS_PER_SECOND = 40_000;

let scene: Scene;
const open: Probes[] = [];
beforeAll(() => {
  scene = new Scene();
  // What is measured here should not be how long this process waited for its turn.
  if (whyNot === undefined) setScheduling("realtime");
});
afterAll(async () => {
  if (whyNot === undefined) setScheduling("ordinary");
  await scene.close();
});
afterEach(async () => {
  for (const probes of open.splice(0)) probes.close();
  await TunWorld.closeAll();
});

function probesOf(world: TunWorld, hosts?: { a: string; b: string }): Probes {
  const probes = world.probes(hosts);
  open.push(probes);
  return probes;
}

/** Delays beyond the emulated one, microseconds. */
function lateness(probes: Probes, delayMicros: number): number[] {
  return probes.arrivals.map(({ sentMicros, atMicros }) => atMicros - sentMicros - delayMicros);
}

function withinSigmas(sigmas: number, count: number, share: number) {
  const expected = count * share;
  const sigma = Math.sqrt(count * share * (1 - share));
  return { least: expected - sigmas * sigma, most: expected + sigmas * sigma };
}

describe.skipIf(whyNot !== undefined)(`a path between namespaces${reason}`, () => {
  it("a delay is kept to the millisecond, and never short", async () => {
    const world = await TunWorld.open(scene, []);
    for (const delay of [5, 50]) {
      await world.ask({ set: { delay: `${delay}ms` } });
      const typical = leastOf(ROUNDS, 1000, () => {
        const probes = probesOf(world);
        probes.send(100, 200, 3000);
        probes.drain(100);
        const late = lateness(probes, delay * 1000);
        expect(late).toHaveLength(100);
        expect(Math.min(...late)).toBeGreaterThanOrEqual(0);
        return median(late);
      });
      expect(typical).toBeLessThan(1000);
    }
    await world.end();
  });

  it("jitter spreads delays evenly up to what was asked", async () => {
    const world = await TunWorld.open(scene, ["--delay", "10ms", "--jitter", "6ms"]);
    const count = 150;
    // The median of even draws from 6 ms: five of its standard deviations, and 1 ms of our own.
    const limit = (5 * 6000) / (2 * Math.sqrt(count)) + 1000;
    const off = leastOf(ROUNDS, limit, () => {
      const probes = probesOf(world);
      // Further apart than the jitter: nobody waits for the one in front.
      probes.send(count, 200, 7000);
      probes.drain(count);
      const late = lateness(probes, 10_000);
      expect(Math.min(...late)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...late)).toBeGreaterThan(4500);
      return Math.abs(median(late) - 3000);
    });
    expect(off).toBeLessThan(limit);
    await world.end();
  });

  it("the share of packets asked for is lost, by the binomial distribution", async () => {
    const world = await TunWorld.open(scene, []);
    const count = 40_000;
    for (const share of [0.001, 0.01, 0.1]) {
      const set = { loss: `${share * 100}%` };
      expect(await world.ask({ set, direction: "a>b" })).toEqual({ ok: true });
      const before = await world.statistics();
      const probes = probesOf(world);
      probes.blast(count, 40, PACKETS_PER_SECOND);
      const after = await world.statistics();
      const sent = after.aToB.sent - before.aToB.sent;
      const lost = after.aToB.lost - before.aToB.lost;
      expect(sent + (after.deviceDrops ?? 0) - (before.deviceDrops ?? 0)).toBe(count);
      probes.drain(sent - lost);
      expect(probes.arrivals).toHaveLength(sent - lost);
      const { least, most } = withinSigmas(5, sent, share);
      expect(lost).toBeGreaterThan(least);
      expect(lost).toBeLessThan(most);
    }
    await world.end();
  });

  it("bursts are as long as asked, and no packet changes its place", async () => {
    const world = await TunWorld.open(scene, ["--loss", "2%", "--burst", "8"]);
    const probes = probesOf(world);
    const count = 40_000;
    probes.blast(count, 40, PACKETS_PER_SECOND);
    const { aToB, deviceDrops } = await world.statistics();
    expect(deviceDrops).toBe(0);
    probes.drain(count - aToB.lost);
    const indices = probes.arrivals.map(({ index }) => index);
    const gaps = indices.flatMap((index, i) => index - (indices[i - 1] ?? -1) - 1);
    const runs = gaps.filter((gap) => gap > 0);
    expect(gaps.every((gap) => gap >= 0)).toBe(true);
    const mean = runs.reduce((sum, run) => sum + run, 0) / runs.length;
    // Runs are geometric: their standard deviation is √(8 · 7).
    const sigma = Math.sqrt(56 / runs.length);
    expect(Math.abs(mean - 8)).toBeLessThan(5 * sigma);
    await world.end();
  });

  it("a rate is kept to three per cent", async () => {
    const world = await TunWorld.open(scene, ["--queue", "64MiB"]);
    const bytes = 1400;
    for (const megabits of [20, 200, 600]) {
      await world.ask({ set: { rate: `${megabits}mbit` } });
      const count = Math.round((megabits * 1e6 * 0.5) / 8 / bytes);
      const faster = (1.3 * count) / 0.5;
      const error = leastOf(ROUNDS, 0.03, () => {
        const probes = probesOf(world);
        probes.blast(count, bytes, faster);
        probes.drain(count);
        // A machine that was away lost some in front of the path: nothing was measured.
        if (probes.arrivals.length < count) return Infinity;
        const [first, last] = [probes.arrivals[0], probes.arrivals.at(-1)];
        const elapsedMicros = (last?.atMicros ?? 0) - (first?.atMicros ?? 0);
        const measured = ((count - 1) * (bytes + IP_UDP_BYTES) * 8) / elapsedMicros;
        return Math.abs(measured / megabits - 1);
      });
      expect(error).toBeLessThan(0.03);
    }
    await world.end();
  });

  it("some arrive twice, some late, and all are counted", async () => {
    const world = await TunWorld.open(scene, [
      ...["--duplicate", "5%", "--reorder", "5%", "--reorder-delay", "2ms"],
    ]);
    const probes = probesOf(world);
    probes.blast(4000, 40);
    const { aToB } = await world.statistics();
    expect(aToB).toMatchObject({ sent: 4000, lost: 0, overflowed: 0 });
    probes.drain(4000 + aToB.duplicated);
    expect(probes.arrivals).toHaveLength(4000 + aToB.duplicated);
    for (const counted of [aToB.duplicated, (await world.statistics()).aToB.reordered]) {
      expect(counted).toBeGreaterThan(withinSigmas(5, 4000, 0.05).least);
      expect(counted).toBeLessThan(withinSigmas(5, 4000, 0.05).most);
    }
    await world.end();
  });

  it("a cut stops packets, a restored path carries, and nonsense is answered", async () => {
    const world = await TunWorld.open(scene, []);
    expect(await world.ask({ cut: true, direction: "a>b" })).toEqual({ ok: true });
    const probes = probesOf(world);
    probes.blast(10, 40);
    expect(await world.statistics()).toMatchObject({ aToB: { sent: 10, cut: 10, delivered: 0 } });
    expect(await world.ask({ restore: true })).toEqual({ ok: true });
    probes.blast(10, 40);
    probes.drain(10);
    expect(probes.arrivals.map(({ index }) => index)).toEqual([
      10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
    ]);
    expect(await world.ask({ set: { delay: "far" } })).toMatchObject({ ok: false });
    await world.end();
  });

  it("a timeline runs by itself", async () => {
    const timeline = scene.path("timeline");
    writeFileSync(timeline, "100ms a>b delay=30ms\n");
    const world = await TunWorld.open(scene, ["--timeline", timeline]);
    const probes = probesOf(world);
    probes.send(60, 40, 5000);
    probes.drain(60);
    const late = lateness(probes, 0);
    expect(late).toHaveLength(60);
    // 300 ms of probes: the last ones met the change, however late the first began.
    expect(Math.min(...late.slice(-10))).toBeGreaterThan(30_000);
    await world.end();
  });

  it("IPv6 and long packets pass where the MTU lets them", async () => {
    const world = await TunWorld.open(scene, ["--mtu", "3000"]);
    const probes = probesOf(world, { a: "2001:2::1", b: "2001:2::2" });
    probes.blast(20, 1900);
    probes.drain(20);
    expect(probes.arrivals).toHaveLength(20);
    const { sent, bytes } = await world.statistics();
    expect([sent, bytes]).toEqual([20, 20 * (1900 + 48)]);
    await world.end();
  });

  it("what the device drops while the path is away is counted by itself", async () => {
    const world = await TunWorld.open(scene, []);
    const probes = probesOf(world);
    await world.suspend();
    // More than the device's queue holds.
    const count = 15_000;
    probes.blast(count, 40);
    world.child.kill("SIGCONT");
    const { sent, deviceDrops = 0 } = await world.statistics();
    expect({ sent, deviceDrops }).toEqual({ sent: 10_000, deviceDrops: 5_000 });
    await world.end();
  });
});

describe.skipIf(whyNot !== undefined)(`ends of a path between namespaces${reason}`, () => {
  it.each(["its input", "SIGTERM", "SIGINT"] as const)("after %s nothing is left", async (how) => {
    const world = await TunWorld.open(scene, []);
    const { a, b } = world.names;
    expect([namespaceExists(a), namespaceExists(b)]).toEqual([true, true]);
    if (how === "its input") await world.end();
    else await world.kill(how);
    expect(await exitCode(world.child)).toBe(0);
    expect([namespaceExists(a), namespaceExists(b)]).toEqual([false, false]);
    expect((await scene.smfs("netem", "down", "--between", `${a},${b}`)).code).toBe(69);
  });

  it("when nobody reads its output any more, it ends and nothing is left", async () => {
    const world = await TunWorld.open(scene, []);
    world.child.process.stdout?.destroy();
    world.child.send('{"stats":true}');
    expect(await exitCode(world.child)).toBe(0);
    expect([world.names.a, world.names.b].map(namespaceExists)).toEqual([false, false]);
  });

  it("a device that somebody deletes ends the path with an error, and nothing is left", async () => {
    const world = await TunWorld.open(scene, []);
    ip(world.names.b, ["link", "delete", "wan0"]);
    expect(await exitCode(world.child)).toBe(74);
    expect(world.child.lastWords).toMatch(/a device of the path cannot be used: read: EBADFD/);
    expect([world.names.a, world.names.b].map(namespaceExists)).toEqual([false, false]);
  });

  it("namespaces that were there stay, without the device", async () => {
    const names = { a: namespace(), b: namespace() };
    const world = await TunWorld.open(scene, [], names);
    expect(interfacesOf(names.a)).toEqual(["wan0"]);
    await world.end();
    expect(namespaceExists(names.a)).toBe(true);
    expect([...interfacesOf(names.a), ...interfacesOf(names.b)]).toEqual([]);
  });

  it("after SIGKILL, down takes away what was made", async () => {
    const names = { a: namespace(), b: twoNames().b };
    const world = await TunWorld.open(scene, [], names);
    await world.kill("SIGKILL");
    expect(namespaceExists(names.b)).toBe(true);
    await scene.succeed("netem", "down", "--between", `${names.a},${names.b}`);
    expect([namespaceExists(names.a), namespaceExists(names.b)]).toEqual([true, false]);
    expect(interfacesOf(names.a)).toEqual([]);
  });

  it("after SIGKILL, the next up begins anew and leaves nothing", async () => {
    const world = await TunWorld.open(scene, []);
    const { names } = world;
    await world.kill("SIGKILL");
    const again = await TunWorld.open(scene, [], names);
    const probes = probesOf(again);
    probes.blast(5, 40);
    probes.drain(5);
    expect(probes.arrivals).toHaveLength(5);
    await again.end();
    expect([namespaceExists(names.a), namespaceExists(names.b)]).toEqual([false, false]);
  });

  it("down ends a path that runs", async () => {
    const world = await TunWorld.open(scene, []);
    const { a, b } = world.names;
    await scene.succeed("netem", "down", "--between", `${a},${b}`);
    expect(await exitCode(world.child)).toBe(0);
    expect([namespaceExists(a), namespaceExists(b)]).toEqual([false, false]);
  });

  it("a namespace has one path, and the second is told so", async () => {
    const world = await TunWorld.open(scene, []);
    const { a } = world.names;
    const other = twoNames().b;
    const second = await scene.smfs("netem", "up", "--between", `${other},${a}`);
    expect(second).toMatchObject({ code: 69, errors: expect.stringContaining(a) as unknown });
    expect(namespaceExists(other)).toBe(false);
    await world.end();
  });

  const noNobody = whyNoNobody();
  it.skipIf(noNobody !== undefined)(
    `a user without rights is told what is missing${noNobody ? ` (skipped: ${noNobody})` : ""}`,
    async () => {
      const child = scene.start("as nobody", ["netem", "up", "--between", "a,b"], MAIN, AS_NOBODY);
      expect(await exitCode(child)).toBe(77);
      expect(child.lastWords).toMatch(/needs root/);
    },
  );
});
