/**
 * Laws of the log, on histories made from a seed. The model keeps its own record of what was
 * acknowledged and looks at the log only through its interface.
 */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { viewOf } from "../../lib/codec.ts";
import { crc32c } from "../../lib/crc32c.ts";
import { SmfsError } from "../../lib/errors.ts";
import { Prng } from "../../lib/prng.ts";
import { KIND, RecordHeader, SegmentHeader } from "../../logfs/core/log/format.ts";
import type { Log } from "../../logfs/core/log/log.ts";
import { readRecord } from "../../logfs/core/log/record.ts";
import { LogWorld } from "../sim/log-world.ts";

type Step =
  | { kind: "append"; bytes: number }
  | { kind: "sync" | "seal" | "checkpoint" }
  /** Of the segments that may be dropped, those whose bit is set. */
  | { kind: "drop"; which: number }
  | { kind: "advance"; micros: number }
  | { kind: "kill" | "crash"; seed: number };

/** Bursts that roll segments within the time of a sync are what recovery has to fear. */
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant("append"), bytes: fc.nat(6000) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("sync") }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("seal", "checkpoint") }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("drop"), which: fc.nat(255) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("advance"), micros: fc.nat(1500) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom("kill", "crash"), seed: fc.nat(1e6) }),
  },
) as fc.Arbitrary<Step>;

/** What was promised, and the checksum of each record by sequence. */
class Model {
  readonly world = new LogWorld({ tailBytes: 65536 }, { capacityBytes: 256 * 1024 });
  private readonly checksums = new Map<number, number>();
  private written = 0;
  private durable = 0;
  /** Newest checkpoint that is durable: what was dropped stands before it. */
  private checkpoint = { sequence: 0, segment: 0 };
  private readonly dropped = new Set<number>();

  constructor() {
    this.append(10);
    this.promise();
    this.world.clock.drain();
  }

  run(step: Step): void {
    switch (step.kind) {
      case "append":
        return this.append(step.bytes);
      case "sync":
        return this.promise();
      case "seal":
        return this.seal();
      case "checkpoint":
        return this.appendCheckpoint();
      case "drop":
        return this.drop(step.which);
      case "advance":
        return this.world.clock.advance(step.micros);
      case "kill":
        this.world.kill(step.seed);
        return this.reopen(this.written);
      case "crash":
        this.world.disk.crash(new Prng(step.seed));
        return this.reopen(this.durable);
    }
  }

  private append(bytes: number): void {
    this.change(() => this.world.append(bytes));
  }

  private change(call: () => unknown): void {
    const { log } = this.world;
    try {
      call();
    } catch (error) {
      expect((error as SmfsError).code).toBe("NO_SPACE");
    }
    // A seal may stand in front of the record; all are known by their place in the chain.
    this.checksums.set(log.head.sequence, log.head.checksum);
  }

  private seal(): void {
    const { log } = this.world;
    const { sequence } = log.head;
    this.change(() => log.sealSegment());
    expect(log.head.sequence - sequence).toBeLessThanOrEqual(1);
    if (log.head.sequence > sequence) expect(log.segments.at(-1)?.sealed).toBe(true);
  }

  private appendCheckpoint(): void {
    const { log } = this.world;
    this.change(() => this.world.append(10, { kind: KIND.checkpoint }));
    const { checkpoint } = log;
    if (checkpoint === null) return;
    const at = { sequence: log.head.sequence, segment: checkpoint.segment };
    log.whenDurable(at.sequence, (error) => {
      if (error === null) this.checkpoint = at;
    });
  }

  private drop(which: number): void {
    const { log } = this.world;
    const dead = log.segments
      .filter(({ segment }) => segment < this.checkpoint.segment)
      .filter((_, index) => (which & (1 << (index & 7))) !== 0);
    log.drop(dead.map(({ segment }) => segment));
    for (const { segment } of dead) this.dropped.add(segment);
  }

  private promise(): void {
    const { log } = this.world;
    const { sequence } = log.head;
    log.whenWritten(sequence, (error) => {
      if (error === null) this.written = Math.max(this.written, sequence);
    });
    log.whenDurable(sequence, (error) => {
      if (error === null) this.durable = Math.max(this.durable, sequence);
    });
  }

  private reopen(promised: number): void {
    const log = this.world.reopen();
    expect(log.head.sequence).toBeGreaterThanOrEqual(promised);
    this.check();
    for (const sequence of this.checksums.keys()) {
      if (sequence > log.head.sequence) this.checksums.delete(sequence);
    }
    this.written = log.head.sequence;
  }

  /**
   * From the last gap on all records are there, each continues the one before, and each is the one
   * that was appended; what was dropped is gone, and nothing else.
   */
  check(): void {
    const { log } = this.world;
    let previous = log.firstSequence === 1 ? 0 : null;
    let count = log.firstSequence - 1;
    for (const { sequence, bytes } of this.world.records()) {
      const header = readRecord(bytes);
      expect(sequence).toBe(++count);
      expect(header.previousChecksum).toBe(previous ?? header.previousChecksum);
      previous = header.headerChecksum;
      expect(this.checksums.get(sequence) ?? previous).toBe(previous);
    }
    expect(count).toBe(log.head.sequence);
    expect(log.head.checksum).toBe(previous ?? log.head.checksum);
    this.checkSegments();
  }

  private checkSegments(): void {
    const { log } = this.world;
    const numbers = log.segments.map(({ segment }) => segment);
    const last = log.endAddress.segment;
    const all = Array.from({ length: last }, (_, i) => i + 1);
    expect(numbers).toEqual(all.filter((segment) => !this.dropped.has(segment)));
    if (this.dropped.size === 0) return;
    const gap = Math.max(...this.dropped);
    expect(log.firstSequence).toBe(
      log.segments.find(({ segment }) => segment > gap)?.firstSequence,
    );
    expect(log.firstSequence).toBeLessThanOrEqual(this.checkpoint.sequence);
  }
}

describe("crashes", () => {
  test("nothing acknowledged is lost, and what is left is a prefix of what was appended", () => {
    fc.assert(
      fc.property(fc.array(anyStep, { minLength: 5, maxLength: 80, size: "max" }), (steps) => {
        const model = new Model();
        for (const one of steps) model.run(one);
        model.check();
      }),
      { numRuns: 300 },
    );
  });

  test("a mirror that crashes keeps what it acknowledged, and can follow on", () => {
    const life = fc.record({ appends: fc.nat(12), taken: fc.nat(20), micros: fc.nat(3000) });
    const lives = fc.array(life, { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(lives, fc.nat(1e6), (steps, seed) => {
        const prng = new Prng(seed);
        const primary = new LogWorld();
        const mirror = new LogWorld();
        for (const { appends, taken, micros } of steps) {
          for (let i = 0; i < appends; i++) primary.append(prng.below(3000));
          // The primary is durable at once, so its headers vouch for what the mirror may lose.
          primary.settle();
          follow(mirror, primary, taken);
          let acknowledged = 0;
          mirror.log.whenDurable(mirror.log.head.sequence, () => {
            acknowledged = mirror.log.head.sequence;
          });
          mirror.clock.advance(micros);
          mirror.disk.crash(prng);
          mirror.reopenOrCreate({ follower: true });
          expect(mirror.log.head.sequence).toBeGreaterThanOrEqual(acknowledged);
        }
        follow(mirror, primary, Infinity);
        expect(mirror.log.head).toEqual(primary.log.head);
      }),
      { numRuns: 150 },
    );
  });

  function follow(mirror: LogWorld, primary: LogWorld, count: number): void {
    const missing = primary.records(primary.log, mirror.log.head.sequence + 1);
    for (const { bytes } of missing.slice(0, count)) mirror.log.appendRaw(bytes);
  }

  test("a mirror that is fed the records has the same bytes on its disk", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(4000), { minLength: 1, maxLength: 40 }), (sizes) => {
        const primary = new LogWorld();
        const mirror = new LogWorld({ allocationBytes: 8192 });
        for (const size of sizes) primary.append(size);
        for (const { bytes } of primary.records()) mirror.log.appendRaw(bytes);
        primary.settle();
        mirror.settle();
        for (const { segment } of primary.disk.list()) {
          const ours = primary.disk.readSync(segment, 0, 16384);
          const theirs = mirror.disk.readSync(segment, 0, ours.length);
          expect(Buffer.compare(ours.subarray(0, theirs.length), theirs)).toBe(0);
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe("damaged segments", () => {
  interface Mutation {
    readonly segment: number;
    readonly offset: number;
    readonly bytes: Uint8Array;
    /** Make the checksum of the header at the offset right again. */
    readonly reseal: boolean;
    readonly truncate: boolean;
  }

  const mutation: fc.Arbitrary<Mutation> = fc.record({
    segment: fc.integer({ min: 1, max: 3 }),
    offset: fc.oneof(fc.nat(16383), fc.nat(64), fc.integer({ min: 64, max: 64 + 96 })),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 16 }),
    reseal: fc.boolean(),
    truncate: fc.boolean(),
  });

  test("give a log or a described failure, and no read longer than a segment", () => {
    const template = filledWorld();
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 4 }), (mutations) => {
        const world = new LogWorld();
        const disk = template.disk.copy(world.clock.schedule);
        Object.assign(world, { disk });
        watchReads(world);
        for (const one of mutations) mutate(world, one);
        const recovered = world.recover();
        if (recovered.ok) readAll(world, recovered.log);
        else expect(recovered.failure.message).toMatch(/segment|log/);
      }),
      { numRuns: 400 },
    );
  });

  function filledWorld(): LogWorld {
    const world = new LogWorld();
    while (world.log.endAddress.segment < 3) world.append(700);
    for (let i = 0; i < 8; i++) world.append(300);
    world.settle();
    return world;
  }

  function watchReads(world: LogWorld): void {
    const { disk } = world;
    const readSync = disk.readSync.bind(disk);
    disk.readSync = (segment, offset, length) => {
      expect(length).toBeLessThanOrEqual(2 ** 20);
      return readSync(segment, offset, length);
    };
  }

  function mutate(
    { disk }: LogWorld,
    { segment, offset, bytes, reseal, truncate }: Mutation,
  ): void {
    const file = disk.list().find((one) => one.segment === segment);
    if (file === undefined || offset + bytes.length > file.bytes) return;
    if (truncate && bytes[0] === 0) return disk.truncate(segment, offset);
    disk.overwrite(segment, offset, bytes);
    if (!reseal) return;
    for (const at of recordStarts(disk.readSync(segment, 0, file.bytes))) {
      fixChecksum(disk, segment, at, RecordHeader.offsetOf("headerChecksum"));
    }
    fixChecksum(disk, segment, 0, SegmentHeader.offsetOf("headerChecksum"));
  }

  function recordStarts(bytes: Uint8Array): number[] {
    const view = viewOf(bytes);
    const starts: number[] = [];
    for (let at = 64; at + 96 <= bytes.length; at += 8) {
      if (view.getUint32(at, true) === 0x52464d53) starts.push(at);
    }
    return starts;
  }

  function fixChecksum(disk: LogWorld["disk"], segment: number, at: number, field: number): void {
    const header = disk.readSync(segment, at, field);
    if (disk.readSync(segment, at + field, 4).length < 4) return;
    disk.overwrite(segment, at + field, new Uint8Array(Uint32Array.of(crc32c(header)).buffer));
  }

  /** Every record can be read, or the reason why not has a code. */
  function readAll(world: LogWorld, log: Log): void {
    try {
      world.records(log);
    } catch (error) {
      expect(error).toBeInstanceOf(SmfsError);
    }
  }
});

describe("records from a peer", () => {
  test("that were changed anywhere are refused with a code, and the log is as it was", () => {
    const primary = new LogWorld();
    for (let i = 0; i < 3; i++) primary.append(200);
    const records = primary.records().map(({ bytes }) => bytes);
    const change = fc.record({ at: fc.nat(303), bit: fc.nat(7), cut: fc.nat(304) });
    fc.assert(
      fc.property(fc.nat(2), change, fc.boolean(), (which, { at, bit, cut }, shorten) => {
        const mirror = new LogWorld();
        for (const bytes of records.slice(0, which)) mirror.log.appendRaw(bytes);
        const { head } = mirror.log;
        const whole = records[which] as Uint8Array;
        const bad = shorten ? whole.slice(0, Math.min(cut, whole.length - 1)) : whole.slice();
        if (!shorten) bad[at] = (bad[at] as number) ^ (1 << bit);
        expect(() => mirror.log.appendRaw(bad)).toThrow(SmfsError);
        expect(mirror.log.head).toBe(head);
      }),
      { numRuns: 300 },
    );
  });
});
