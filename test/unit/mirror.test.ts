import { describe, expect, it } from "vitest";
import { frame, FRAME, FrameReader, Hello, PROTOCOL_VERSION } from "../../mirror/core/messages.ts";
import { Prng } from "../../lib/prng.ts";
import { SmfsError } from "../../lib/errors.ts";
import { SimulatedDisk } from "../sim/disk.ts";
import { LOG_ID, MirrorSide, MirrorWorld, ONE_WAY_MICROS, SAFE_MICROS } from "../mirror-world.ts";

const SECOND = 1_000_000;

describe("streaming", () => {
  it("a mirror's segments are byte for byte the primary's", () => {
    const world = new MirrorWorld();
    world.join();
    for (let i = 0; i < 200; i++) world.append(1000);
    world.clock.advance(5 * SECOND);
    expect(world.primary.state).toBe("streaming");
    expect(world.log.segmentCount).toBeGreaterThan(2);
    expect(world.primary.durableSequence).toBe(world.log.head.sequence);
    expect(MirrorWorld.image(world.mirror.disk)).toBe(MirrorWorld.image(world.primaryDisk));
  });

  it("after a break the stream goes on from where the mirror stands", () => {
    const world = new MirrorWorld();
    world.join();
    for (let i = 0; i < 20; i++) world.append();
    world.clock.advance(SECOND);
    const before = world.primary.statistics.recordsSent;
    world.pipe.break("cable cut");
    for (let i = 0; i < 5; i++) world.append();
    world.clock.advance(SECOND);
    expect(world.primary.state).toBe("disconnected");
    world.join();
    world.clock.advance(SECOND);
    expect(world.primary.durableSequence).toBe(world.log.head.sequence);
    expect(world.primary.statistics.recordsSent - before).toBe(5);
  });

  it("lag and bytes behind are zero only when the mirror has everything", () => {
    const world = new MirrorWorld();
    expect(world.primary.lagMicros).toBeNull();
    expect(world.primary.bytesBehind).toBeGreaterThan(0);
    world.join();
    world.clock.advance(SECOND);
    expect(world.primary.lagMicros).toBe(0);
    expect(world.primary.bytesBehind).toBe(0);
    world.append(1000);
    world.clock.advance(ONE_WAY_MICROS / 2);
    expect(world.primary.lagMicros).toBe(ONE_WAY_MICROS / 2);
    expect(world.primary.bytesBehind).toBeGreaterThan(1000);
    world.clock.advance(SECOND);
    expect(world.primary.lagMicros).toBe(0);
    expect(world.primary.bytesBehind).toBe(0);
  });
});

describe("lag of a mirror that is away", () => {
  it("is the age of what it misses, from the break on", () => {
    const world = new MirrorWorld();
    world.join();
    world.clock.advance(SECOND);
    world.pipe.break("cable cut");
    world.clock.advance(5 * SECOND);
    expect(world.primary.lagMicros).toBe(0);
    world.append();
    world.clock.advance(7 * SECOND);
    expect(world.primary.lagMicros).toBe(7 * SECOND);
    world.join();
    world.clock.advance(SECOND);
    expect(world.primary.lagMicros).toBe(0);
  });

  it("counts what was on its way when the path broke", () => {
    const world = new MirrorWorld();
    world.join();
    world.clock.advance(SECOND);
    world.append();
    world.clock.advance(ONE_WAY_MICROS / 2);
    world.pipe.break("cable cut");
    world.clock.advance(SECOND);
    expect(world.primary.lagMicros).toBe(SECOND + ONE_WAY_MICROS / 2);
  });
});

describe("sync levels", () => {
  it("network waits for the disk and the wire, not for the round trip", async () => {
    const world = new MirrorWorld();
    world.join();
    world.clock.advance(SECOND);
    const waited = await world.waited(world.append(), "network");
    expect(waited).toBeGreaterThanOrEqual(SAFE_MICROS);
    expect(waited).toBeLessThan(ONE_WAY_MICROS);
    expect(world.pipe.a.hurries).toBeGreaterThan(0);
  });

  it("remote waits for the mirror's disk", async () => {
    const world = new MirrorWorld();
    world.join();
    world.clock.advance(SECOND);
    const waited = await world.waited(world.append(), "remote");
    expect(waited).toBeGreaterThan(2 * ONE_WAY_MICROS);
    expect(world.mirror.log?.durableSequence).toBe(world.log.head.sequence);
  });

  it("local waits for this disk only, and every stronger level includes it", async () => {
    const world = new MirrorWorld();
    world.join();
    world.clock.advance(SECOND);
    for (const level of ["local", "network", "remote"] as const) {
      const sequence = world.append();
      await world.waited(sequence, level);
      expect(world.log.durableSequence).toBeGreaterThanOrEqual(sequence);
    }
  });

  it("without a mirror in reach, block fails after its timeout with a reason", async () => {
    const world = new MirrorWorld("block");
    await expect(world.waited(world.append(), "network")).rejects.toThrow(/did not reach network/);
    expect(world.clock.nowMicros()).toBeGreaterThanOrEqual(30 * SECOND);
  });

  it("what timed out is not kept until the mirror comes back", async () => {
    const world = new MirrorWorld("block");
    for (let i = 0; i < 3; i++) {
      const waits = [1, 2, 3].map(() => world.waited(world.append(), "remote"));
      await Promise.allSettled(waits);
    }
    expect(world.committer.statistics.failed).toBe(9);
    expect(world.committer.waiting).toBe(0);
  });

  it("eio fails as soon as the record is durable here", async () => {
    const world = new MirrorWorld("eio");
    await expect(world.waited(world.append(), "remote")).rejects.toMatchObject({
      code: "UNREACHABLE",
    });
    expect(world.clock.nowMicros()).toBeLessThan(SECOND);
  });

  it("degrade answers at local, and counts it", async () => {
    const world = new MirrorWorld("degrade");
    const sequence = world.append();
    await world.waited(sequence, "remote");
    expect(world.log.durableSequence).toBeGreaterThanOrEqual(sequence);
    expect(world.committer.statistics).toEqual({ degraded: 1, failed: 0 });
  });

  it("degrade waits for a disk that is slower than its timeout", async () => {
    const world = new MirrorWorld("degrade", { syncMicros: 40 * SECOND });
    const sequence = world.append();
    await world.waited(sequence, "network");
    expect(world.log.durableSequence).toBeGreaterThanOrEqual(sequence);
    expect(world.clock.nowMicros()).toBeGreaterThan(30 * SECOND);
    expect(world.committer.statistics).toEqual({ degraded: 1, failed: 0 });
  });

  it("a wait that began before a break ends when the mirror has the record after all", async () => {
    const world = new MirrorWorld("block");
    world.join();
    world.clock.advance(SECOND);
    world.pipe.break("cable cut");
    const sequence = world.append();
    world.clock.schedule(3 * SECOND, () => world.join());
    const waited = await world.waited(sequence, "remote");
    expect(waited).toBeGreaterThan(3 * SECOND);
    expect(world.mirror.log?.durableSequence).toBeGreaterThanOrEqual(sequence);
  });
});

describe("histories", () => {
  it("a tail that the primary lost in a crash gives way, and is kept aside", () => {
    const world = new MirrorWorld();
    world.join();
    for (let i = 0; i < 10; i++) world.append();
    world.clock.advance(SECOND);
    const common = world.log.head.sequence;
    // The disk as it is now survives; what comes after reaches the mirror only.
    const survivor = copyOf(world);
    for (let i = 0; i < 5; i++) world.append(50);
    world.clock.advance(SECOND);
    expect(world.mirror.log?.head.sequence).toBe(common + 5);
    world.pipe.break("the primary's machine lost power");
    world.reopen(survivor);
    for (let i = 0; i < 8; i++) world.append(70);
    world.join();
    world.clock.advance(10 * SECOND);
    expect(world.primary.state).toBe("streaming");
    const lost = [1, 2, 3, 4, 5].map((i) => common + i);
    expect(world.mirror.setAsideSequences).toEqual(lost);
    expect(MirrorWorld.image(world.mirror.disk)).toBe(MirrorWorld.image(survivor));
  });

  it("the mirror of another log refuses, and says which logs they are", () => {
    const world = new MirrorWorld();
    const other = new MirrorSide(world.clock, new SimulatedDisk(world.clock.schedule));
    other.create(helloOf(new Uint8Array(16).fill(9)));
    other.session.attach(world.pipe.b);
    world.pipe.join(world.primary, other.session);
    world.clock.advance(SECOND);
    expect(world.primary.state).toBe("refused");
    expect(world.primary.reason).toContain("09090909");
    expect(other.log?.head.sequence).toBe(0);
  });

  it("an old primary that comes back after a promotion is fenced", () => {
    const world = new MirrorWorld();
    world.join();
    world.append();
    world.clock.advance(SECOND);
    world.mirror.log?.startEpoch(2 ** 32, 3);
    world.pipe.break("the site was lost");
    world.append();
    world.join();
    world.clock.advance(SECOND);
    expect(world.primary.state).toBe("fenced");
    expect(world.fencedBy).toContain("term 1");
  });

  it("two primaries that meet agree on which of them is the later", () => {
    const old = new MirrorWorld();
    const promoted = new MirrorWorld();
    promoted.clock.advance(SECOND);
    promoted.reopen(promoted.primaryDisk, 2 ** 32);
    promoted.primary.attach(old.pipe.b);
    old.pipe.join(old.primary, promoted.primary);
    old.clock.advance(SECOND);
    expect(old.primary.state).toBe("fenced");
    expect(promoted.fencedBy).toBeNull();
  });

  it("a full mirror refuses with its reason, and is offered the log again", () => {
    const world = new MirrorWorld();
    const small = new SimulatedDisk(world.clock.schedule, { capacityBytes: 100 * 1024 });
    const mirror = new MirrorSide(world.clock, small);
    mirror.session.attach(world.pipe.b);
    world.pipe.join(world.primary, mirror.session);
    for (let i = 0; i < 60; i++) world.append(4000);
    world.clock.advance(3 * SECOND);
    expect(world.primary.state).toBe("refused");
    expect(mirror.log?.durableSequence).toBeGreaterThan(0);
    const refusals = world.primary.statistics.refusals;
    world.clock.advance(10 * SECOND);
    expect(world.primary.statistics.refusals).toBeGreaterThan(refusals);
  });
});

describe("hostile input", () => {
  it("a frame that claims an absurd length is refused before memory is taken", () => {
    const header = Uint8Array.of(FRAME.records, 0, 0, 0, 0xff, 0xff, 0xff, 0xff);
    expect(() => new FrameReader().push(header, () => {})).toThrow(SmfsError);
  });

  it("frames come out whole however the bytes are cut", () => {
    const one = frame(FRAME.hello, Hello, helloOf(LOG_ID));
    for (let cut = 1; cut < one.length; cut++) {
      const seen: number[] = [];
      const reader = new FrameReader();
      reader.push(one.subarray(0, cut), (type) => seen.push(type));
      expect(seen).toEqual([]);
      reader.push(one.subarray(cut), (type, payload) => {
        expect(Hello.decode(new DataView(payload.slice().buffer), 0).headSequence).toBe(1);
        seen.push(type);
      });
      expect(seen).toEqual([FRAME.hello]);
    }
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    "random bytes change nothing and end in a refusal (seed %i)",
    (seed) => {
      const prng = new Prng(seed);
      const world = new MirrorWorld();
      world.join();
      world.append();
      world.clock.advance(SECOND);
      const before = world.mirror.log?.head.sequence;
      for (let i = 0; i < 50; i++) {
        const noise = prng.fill(new Uint8Array(8 + prng.below(200)));
        if (prng.chance(0.5)) noise.set([1 + prng.below(8), 0, 0, 0, prng.below(64), 0, 0, 0]);
        world.mirror.session.onData(noise);
        world.primary.onData(noise);
      }
      expect(world.mirror.log?.head.sequence).toBe(before);
    },
  );
});

function helloOf(logId: Uint8Array): Hello {
  return {
    version: PROTOCOL_VERSION,
    logId,
    writerId: new Uint8Array(16),
    epoch: 1,
    headSequence: 1,
    segmentBytes: 64 * 1024,
    maxRecordBytes: 16 * 1024,
  };
}

/** A disk with the same content, as a snapshot of the machine would hold. */
function copyOf(world: MirrorWorld): SimulatedDisk {
  const copy = new SimulatedDisk(world.clock.schedule);
  for (const { segment, bytes } of world.primaryDisk.list()) {
    copy.allocate(segment, bytes);
    copy.write(segment, 0, [world.primaryDisk.readSync(segment, 0, bytes)], () => {});
  }
  world.clock.advance(SECOND);
  return copy;
}

describe("copies of the log", () => {
  async function asked(
    world: MirrorWorld,
    answer: Promise<Uint8Array | null>,
  ): Promise<Uint8Array | null> {
    const found: { bytes: Uint8Array | null }[] = [];
    void answer.then((bytes) => found.push({ bytes }));
    for (let turn = 0; turn < 200 && found.length === 0; turn++) {
      await Promise.resolve();
      world.clock.advance(10_000);
    }
    const [only] = found;
    if (only === undefined) throw new Error("no answer");
    return only.bytes;
  }

  function joined(): MirrorWorld {
    const world = new MirrorWorld();
    world.join();
    for (let i = 0; i < 100; i++) world.append(1000);
    world.clock.advance(5 * SECOND);
    return world;
  }

  it("either side has the other's bytes at the same address", async () => {
    const world = joined();
    const at = { segment: 1, offset: 64 };
    const length = 60_000;
    const expected = world.primaryDisk.readSync(1, 64, length);
    expect(await asked(world, world.primary.readCopy(at, length))).toEqual(expected);
    expect(await asked(world, world.mirror.session.readCopy(at, length))).toEqual(expected);
  });

  it("what the other has not, and what is asked of nobody, is nothing", async () => {
    const world = joined();
    expect(await asked(world, world.primary.readCopy({ segment: 99, offset: 64 }, 10))).toBeNull();
    const pending = world.primary.readCopy({ segment: 1, offset: 64 }, 100);
    const second = world.primary.readCopy({ segment: 1, offset: 64 }, 100);
    expect(await asked(world, second)).toBeNull();
    world.pipe.break("cable cut");
    expect(await asked(world, pending)).toBeNull();
    expect(await asked(world, world.primary.readCopy({ segment: 1, offset: 64 }, 9))).toBeNull();
    expect(
      await asked(world, world.mirror.session.readCopy({ segment: 1, offset: 64 }, 9)),
    ).toBeNull();
  });

  it("records go on flowing while copies do", async () => {
    const world = joined();
    const copy = world.primary.readCopy({ segment: 1, offset: 64 }, 60_000);
    for (let i = 0; i < 50; i++) world.append(1000);
    expect((await asked(world, copy))?.length).toBe(60_000);
    world.clock.advance(5 * SECOND);
    expect(world.primary.durableSequence).toBe(world.log.head.sequence);
    expect(MirrorWorld.image(world.mirror.disk)).toBe(MirrorWorld.image(world.primaryDisk));
  });
});
