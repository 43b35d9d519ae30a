import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { Volume } from "../../logfs/core/fs/api.ts";
import { checkVolume } from "../../logfs/core/fs/check.ts";
import { VolumeFollower } from "../../logfs/core/fs/follower.ts";
import type { LogReader, RawRecord } from "../../logfs/core/log/api.ts";
import type { LiveBytes } from "../../logfs/core/fs/live-bytes.ts";
import { KIND } from "../../logfs/core/log/format.ts";
import { Log } from "../../logfs/core/log/log.ts";
import { readRecordHeader } from "../../logfs/core/log/record.ts";
import { SimulatedDisk } from "../sim/disk.ts";
import { applyTo, type Change, linesOf, LOG_ID, Model, VolumeWorld } from "../unit/volume-world.ts";

const HIGHS = [1, 17, 33];
/** Nodes of 256 bytes, of which the cache holds two or three; checkpoints every few operations. */
const TIGHT = {
  nodeBytes: 256,
  limits: { cacheBytes: 3000, dirtyBytes: 2000, replayBytes: 20_000 },
  log: { tailBytes: 4096 },
};

const someHigh = fc.constantFrom(...HIGHS);
const someLow = fc.nat({ max: 80 });
const puts: fc.Arbitrary<Change[]> = fc.array(
  fc.tuple(someHigh, someLow, fc.uint8Array({ maxLength: 48 })),
  { minLength: 1, maxLength: 12, size: "max" },
);
/** A run of keys goes, and something comes back in the same operation: leaves become empty. */
const replacement: fc.Arbitrary<Change[]> = fc
  .tuple(
    someHigh,
    someLow,
    fc.integer({ min: 1, max: 30 }),
    fc.array(fc.nat({ max: 30 }), { maxLength: 2 }),
  )
  .map(([of, from, count, back]) => [
    ...Array.from({ length: count }, (_, i): Change => [of, from + i, null]),
    ...back.map((offset): Change => [of, from + offset, new Uint8Array(30)]),
  ]);
const changes = fc.oneof({ weight: 3, arbitrary: puts }, { weight: 2, arbitrary: replacement });

/** What happens next: operations begun at once, a checkpoint, the end of the process, or of the power. */
type Step =
  | { operations: Change[][] }
  | { powerAfterMicros: number; seed: number }
  | "checkpoint"
  | "reopen";

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .array(changes, { minLength: 1, maxLength: 4, size: "max" })
      .map((operations) => ({ operations })),
  },
  { weight: 1, arbitrary: fc.constantFrom<Step>("checkpoint", "reopen") },
);
const powerLoss: fc.Arbitrary<Step> = fc.record({
  powerAfterMicros: fc.nat({ max: 10_000 }),
  seed: fc.nat(),
});
const history = fc.array(step, { minLength: 10, maxLength: 40, size: "max" });

interface Done {
  readonly sequence: number;
  readonly changes: Change[];
}

/** Runs a history; gives its operations in the order of their records. */
async function live(
  world: VolumeWorld,
  steps: readonly Step[],
  tally = { lost: 0 },
): Promise<Done[]> {
  const done: Done[] = [];
  for (const next of steps) {
    if (next === "checkpoint") world.volume.checkpoint();
    else if (next === "reopen") await world.reopen();
    else if ("seed" in next) tally.lost += await losePower(world, next, done);
    else await world.finish(Promise.all(next.operations.map((one) => change1(world, one, done))));
    if (next === "checkpoint") expect(world.volume.statistics.dirtyBytes).toBe(0);
  }
  return done.toSorted((a, b) => a.sequence - b.sequence);
}

/** Forgets the operations whose records were lost; they are the last ones, and none was durable. */
async function losePower(
  world: VolumeWorld,
  { powerAfterMicros, seed }: { powerAfterMicros: number; seed: number },
  done: Done[],
): Promise<number> {
  world.clock.advance(powerAfterMicros);
  const { durableSequence } = world.log;
  await world.losePower(seed);
  const { sequence: last } = world.log.head;
  expect(last).toBeGreaterThanOrEqual(durableSequence);
  const kept = done.filter(({ sequence }) => sequence <= last);
  const lost = done.length - kept.length;
  done.splice(0, done.length, ...kept);
  return lost;
}

async function change1(world: VolumeWorld, wanted: Change[], done: Done[]): Promise<void> {
  const { sequence } = await world.volume.change((transaction) => applyTo(transaction, wanted));
  done.push({ sequence, changes: wanted });
}

function modelAfter(done: readonly Done[], sequence: number): Model {
  const model = new Model();
  for (const one of done) if (one.sequence <= sequence) model.apply(one.changes);
  return model;
}

async function linesIn(world: VolumeWorld, volume: Volume): Promise<string[]> {
  return world.finish(linesOf(volume, HIGHS));
}

/** The items mean nothing here; what fsck says about nodes and live bytes must be nothing. */
async function expectExactAccounts(world: VolumeWorld): Promise<void> {
  const { checkpoint } = world.log;
  if (checkpoint === null) throw new Error("no checkpoint");
  const options = { segments: world.disk.list(), depth: "structure" as const };
  const report = await world.finish(checkVolume(world.log, checkpoint, options));
  const ofTheTree = report.findings.filter(
    ({ inode, what }) => inode === null && !what.startsWith("the volume counts"),
  );
  expect(ofTheTree).toEqual([]);
}

test("whatever is missed, checkpointed and reopened, a volume is the map its records make", async () => {
  await fc.assert(
    fc.asyncProperty(history, async (steps) => {
      const world = new VolumeWorld(TIGHT);
      const done = await live(world, steps);
      const expected = modelAfter(done, Infinity).lines();
      await expectExactAccounts(world);
      expect(await linesIn(world, world.volume)).toEqual(expected);
      await world.reopen();
      expect(await linesIn(world, world.volume)).toEqual(expected);
    }),
    { numRuns: 40, endOnFailure: true },
  );
});

test("after the power was lost, a volume is what the records that are left make", async () => {
  const withPowerLoss = fc.array(fc.oneof({ weight: 5, arbitrary: step }, powerLoss), {
    minLength: 10,
    maxLength: 30,
    size: "max",
  });
  const tally = { lost: 0 };
  await fc.assert(
    fc.asyncProperty(withPowerLoss, fc.nat(), async (steps, seed) => {
      const world = new VolumeWorld(TIGHT);
      await world.durable();
      const done = await live(world, [...steps, { powerAfterMicros: 0, seed }], tally);
      expect(await linesIn(world, world.volume)).toEqual(modelAfter(done, Infinity).lines());
      await expectExactAccounts(world);
    }),
    { numRuns: 30, endOnFailure: true },
  );
  expect(tally.lost).toBeGreaterThan(30);
});

test("the history runs through misses, several levels and several checkpoints", async () => {
  const world = new VolumeWorld(TIGHT);
  const steps: Step[] = [];
  for (let low = 0; low < 80; low++) {
    steps.push({ operations: HIGHS.map((high) => [[high, low, new Uint8Array(40)]]) });
  }
  await live(world, steps);
  await world.reopen();
  await linesIn(world, world.volume);
  const { treeHeight, misses } = world.volume.statistics;
  expect(treeHeight).toBeGreaterThan(3);
  expect(misses).toBeGreaterThan(60);
});

async function recordsOf(world: VolumeWorld, log: LogReader): Promise<RawRecord[]> {
  const records: RawRecord[] = [];
  while ((records.at(-1)?.sequence ?? 0) < log.head.sequence) {
    const from = (records.at(-1)?.sequence ?? 0) + 1;
    const more = await world.finish(
      new Promise<RawRecord[]>((resolve, reject) => {
        log.readRecords(from, 65_536, (error, found) => (error ? reject(error) : resolve(found)));
      }),
    );
    records.push(...more);
  }
  return records;
}

/** Without the ages, which a follower knows from the next checkpoint only when data was moved. */
function liveBytesIn(table: Pick<LiveBytes, "entries"> | null): (readonly [number, number])[] {
  return (table?.entries ?? []).map(({ segment, bytes }) => [segment, bytes] as const);
}

test("after every record a follower holds what the primary held after it", async () => {
  await fc.assert(
    fc.asyncProperty(history, async (steps) => {
      const world = new VolumeWorld(TIGHT);
      const done = await live(world, steps);
      const disk = new SimulatedDisk(world.clock.schedule);
      const options = { logId: LOG_ID, ...world.logOptions };
      const log = Log.create(disk, options, world.clock);
      const follower = new VolumeFollower(log, world.environment, 1);
      for (const { sequence, bytes } of await recordsOf(world, world.log)) {
        log.appendRaw(bytes);
        await world.finish(follower.settled());
        expect(follower.failure).toBeNull();
        expect(follower.headSequence).toBe(sequence);
        if (!follower.ready) continue;
        if (readRecordHeader(bytes, 0).kind === KIND.checkpoint) {
          expect(follower.statistics).toMatchObject({ cachedNodes: 0, dirtyBytes: 0 });
        }
        expect(await linesIn(world, follower)).toEqual(modelAfter(done, sequence).lines());
      }
      expect(follower.ready).toBe(true);
      expect(liveBytesIn(follower.live)).toEqual(liveBytesIn(world.volume.live));
      await world.finish(follower.close());
    }),
    { numRuns: 15, endOnFailure: true },
  );
});
