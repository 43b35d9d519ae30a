/**
 * Snapshots against a model that keeps copies: whatever is changed, checkpointed, lost with the
 * power, rolled back or removed, every snapshot is the map that the volume was when it was taken,
 * here and at a follower, and its table of live bytes is what its nodes take.
 */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { Volume } from "../../logfs/core/fs/api.ts";
import { NodeCache } from "../../logfs/core/fs/cache.ts";
import { VolumeFollower } from "../../logfs/core/fs/follower.ts";
import { loadTable } from "../../logfs/core/fs/kept.ts";
import { LiveBytes } from "../../logfs/core/fs/live-bytes.ts";
import { loaded } from "../../logfs/core/fs/miss.ts";
import { Slot } from "../../logfs/core/fs/node.ts";
import { Replica } from "../../logfs/core/fs/replica.ts";
import type { SnapshotSource } from "../../logfs/core/fs/snapshot-volume.ts";
import type { VolumeState } from "../../logfs/core/fs/state.ts";
import { checkpointSequence } from "../../logfs/core/fs/volume-open.ts";
import type { RawRecord } from "../../logfs/core/log/api.ts";
import { Log } from "../../logfs/core/log/log.ts";
import { SimulatedDisk } from "../sim/disk.ts";
import { applyTo, type Change, linesOf, LOG_ID, Model, VolumeWorld } from "../unit/volume-world.ts";

const HIGHS = [1, 17];
const NAMES = ["a", "b", "c", "d"];
/** Nodes of 256 bytes, of which the cache holds few; checkpoints every few operations. */
const TIGHT = {
  nodeBytes: 256,
  limits: { cacheBytes: 3000, dirtyBytes: 2000, replayBytes: 20_000 },
  log: { tailBytes: 4096, segmentBytes: 32 * 1024, allocationBytes: 4096 },
};

type Step =
  | { readonly change: Change[] }
  | { readonly take: string }
  | { readonly remove: string }
  | { readonly rollBack: string }
  | { readonly powerAfterMicros: number; readonly seed: number }
  | "evacuate"
  | "checkpoint"
  | "reopen";

const change: fc.Arbitrary<Change> = fc.tuple(
  fc.constantFrom(...HIGHS),
  fc.nat({ max: 60 }),
  fc.option(fc.uint8Array({ maxLength: 40 }), { freq: 3, nil: null }),
);
const name = fc.constantFrom(...NAMES);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .uniqueArray(change, {
        minLength: 1,
        maxLength: 12,
        size: "max",
        selector: ([high, low]) => `${high}/${low}`,
      })
      .map((changes) => ({ change: changes })),
  },
  { weight: 4, arbitrary: name.map((take) => ({ take })) },
  { weight: 1, arbitrary: name.map((remove) => ({ remove })) },
  { weight: 2, arbitrary: name.map((rollBack) => ({ rollBack })) },
  { weight: 1, arbitrary: fc.constantFrom<Step>("checkpoint", "reopen", "evacuate") },
);
const powerLoss: fc.Arbitrary<Step> = fc.record({
  powerAfterMicros: fc.nat({ max: 5000 }),
  seed: fc.nat(),
});
const histories = (steps: fc.Arbitrary<Step>) =>
  fc.array(steps, { minLength: 15, maxLength: 50, size: "max" });

/** What a volume should be: its items, and copies of them by snapshot. */
class Expected {
  model = new Model();
  readonly snapshots = new Map<string, string[]>();
  private readonly copies = new Map<string, Model>();

  apply(event: Event): void {
    if ("change" in event) this.model.apply(event.change);
    else if ("take" in event) {
      this.copies.set(event.take, copyOf(this.model));
      this.snapshots.set(event.take, this.model.lines());
    } else if ("remove" in event) this.snapshots.delete(event.remove);
    else this.model = copyOf(this.copies.get(event.rollBack) ?? new Model());
  }
}

type Event = Extract<
  Step,
  { change: unknown } | { take: unknown } | { remove: unknown } | { rollBack: unknown }
>;

interface Done {
  readonly sequence: number;
  readonly event: Event;
}

function copyOf(model: Model): Model {
  const copy = new Model();
  for (const [key, item] of model.items) copy.items.set(key, item);
  return copy;
}

function expectedAfter(done: readonly Done[], sequence: number): Expected {
  const expected = new Expected();
  for (const one of done) if (one.sequence <= sequence) expected.apply(one.event);
  return expected;
}

interface Tally {
  lost: number;
  rollBacks: number;
  taken: number;
}

async function live(world: VolumeWorld, steps: readonly Step[], tally: Tally): Promise<Done[]> {
  let done: Done[] = [];
  for (const next of steps) {
    if (next === "checkpoint") world.volume.checkpoint();
    else if (next === "reopen") await world.reopen();
    else if (next === "evacuate") await evacuate(world);
    else if ("seed" in next) done = await losePower(world, next, done, tally);
    else {
      const sequence = await run(world, next, tally);
      if (sequence !== null) done.push({ sequence, event: next });
    }
  }
  return done;
}

/** The record that did it; null when the volume had a reason to refuse. */
async function run(world: VolumeWorld, event: Event, tally: Tally): Promise<number | null> {
  const { volume } = world;
  const kept = new Set(volume.keptSnapshots.map((snapshot) => snapshot.name));
  if ("change" in event) {
    const changed = volume.change((transaction) => applyTo(transaction, event.change));
    return (await world.finish(changed)).sequence;
  }
  if ("take" in event) {
    if (kept.has(event.take)) {
      expect(() => volume.snapshots.take(event.take)).toThrow("already");
      return null;
    }
    tally.taken++;
    expect(volume.snapshots.take(event.take).name).toBe(event.take);
    return world.log.head.sequence;
  }
  const wanted = "remove" in event ? event.remove : event.rollBack;
  if (!kept.has(wanted)) {
    expect(() => volume.snapshots.remove(wanted)).toThrow("no snapshot");
    return null;
  }
  if ("remove" in event) volume.snapshots.remove(wanted);
  else await world.finish(volume.snapshots.rollBack(wanted));
  if ("rollBack" in event) tally.rollBacks++;
  return world.log.head.sequence;
}

/** The tables of all snapshots move. */
async function evacuate(world: VolumeWorld): Promise<void> {
  const before = world.volume.keptSnapshots.map(({ table }) => table);
  for (const segment of new Set(before.map((table) => table.segment))) {
    await world.finish(world.volume.snapshots.evacuate(segment));
  }
  await world.finish(world.volume.change((t) => t.put(99, 0, new Uint8Array(8))));
  world.volume.checkpoint();
  const after = world.volume.keptSnapshots.map(({ table }) => table);
  for (const [i, table] of after.entries()) {
    expect(table.checksum).toBe(before[i]?.checksum);
    expect(table).not.toEqual(before[i]);
  }
}

async function losePower(
  world: VolumeWorld,
  { powerAfterMicros, seed }: { powerAfterMicros: number; seed: number },
  done: readonly Done[],
  tally: Tally,
): Promise<Done[]> {
  world.clock.advance(powerAfterMicros);
  await world.losePower(seed);
  const left = done.filter(({ sequence }) => sequence <= world.log.head.sequence);
  tally.lost += done.length - left.length;
  return left;
}

async function expectAsModelled(
  world: VolumeWorld,
  volume: Volume & SnapshotSource,
  { model, snapshots }: Expected,
): Promise<void> {
  expect(await world.finish(linesOf(volume, HIGHS))).toEqual(model.lines());
  const names = volume.keptSnapshots.map((snapshot) => snapshot.name);
  expect(names.toSorted()).toEqual([...snapshots.keys()].toSorted());
  for (const snapshot of volume.keptSnapshots) {
    const lines = await world.finish(linesOf(volume.openSnapshot(snapshot), HIGHS));
    expect(lines).toEqual(snapshots.get(snapshot.name));
  }
}

/** Bytes of the nodes of a tree, by segment, as they stand in the log. */
async function nodesOf(replica: Replica, root: Slot): Promise<LiveBytes> {
  const found = new LiveBytes();
  const visit = async (slot: Slot): Promise<void> => {
    const node = await replica.runner.run(() => loaded(slot));
    if (slot.reference !== null) found.add(slot.reference.segment, slot.reference.length);
    for (const child of node.children) await visit(child);
  };
  await visit(root);
  return found;
}

const bytesIn = (table: LiveBytes): [number, number][] =>
  table.entries.map(({ segment, bytes }) => [segment, bytes]);

/** The tables of the volume that the log holds, compared with the nodes that are there. */
async function expectExactTables(world: VolumeWorld): Promise<void> {
  const { log } = world;
  if (log.checkpoint === null) throw new Error("no checkpoint");
  const first = await world.finish(checkpointSequence(log, log.checkpoint));
  const replica = new Replica(log, new NodeCache(1e6), first, log.checkpoint);
  await world.finish(replica.catchUp(() => true));
  const state = replica.state as VolumeState;
  const active = await world.finish(nodesOf(replica, state.tree.root));
  for (const { segment, length } of state.tree.replaced) active.add(segment, length);
  for (const snapshot of state.kept.list) {
    active.add(snapshot.table.segment, snapshot.table.length);
    const table = await world.finish(loadTable(log, snapshot));
    const root = new Slot(snapshot.height - 1, snapshot.root, null);
    const nodes = await world.finish(nodesOf(replica, root));
    expect(bytesIn(table)).toEqual(bytesIn(nodes));
    expect(snapshot.referencedBytes).toBe(table.totalBytes);
    for (const { segment } of table.entries) {
      expect(state.kept.pinned.has(segment) && state.needed.has(segment)).toBe(true);
    }
  }
  expect(bytesIn(state.live)).toEqual(bytesIn(active));
  for (const { segment } of active.entries) expect(state.needed.has(segment)).toBe(true);
}

test("every snapshot is the map that the volume was, through everything that happens", async () => {
  const tally = { lost: 0, rollBacks: 0, taken: 0 };
  const steps = fc.oneof({ weight: 9, arbitrary: step }, powerLoss);
  await fc.assert(
    fc.asyncProperty(histories(steps), async (history) => {
      const world = new VolumeWorld(TIGHT);
      await world.durable();
      const done = await live(world, history, tally);
      await expectAsModelled(world, world.volume, expectedAfter(done, Infinity));
      await expectExactTables(world);
      await world.reopen();
      await expectAsModelled(world, world.volume, expectedAfter(done, Infinity));
    }),
    { numRuns: 150, endOnFailure: true },
  );
  expect(tally.lost).toBeGreaterThan(20);
  expect(tally.rollBacks).toBeGreaterThan(20);
  expect(tally.taken).toBeGreaterThan(80);
});

async function recordsOf(world: VolumeWorld): Promise<RawRecord[]> {
  const records: RawRecord[] = [];
  const { log } = world;
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

test("after every record a follower shows the snapshots that the primary had after it", async () => {
  const tally = { lost: 0, rollBacks: 0, taken: 0 };
  await fc.assert(
    fc.asyncProperty(histories(step), async (history) => {
      const world = new VolumeWorld(TIGHT);
      const done = await live(world, history, tally);
      const disk = new SimulatedDisk(world.clock.schedule);
      const log = Log.create(disk, { logId: LOG_ID, ...world.logOptions }, world.clock);
      let rollbacks = 0;
      const onRollback = () => void rollbacks++;
      const follower = new VolumeFollower(log, { ...world.environment, onRollback }, 1);
      for (const { sequence, bytes } of await recordsOf(world)) {
        log.appendRaw(bytes);
        await world.finish(follower.settled());
        expect(follower.failure).toBeNull();
        if (!follower.ready) continue;
        await expectAsModelled(world, follower, expectedAfter(done, sequence));
      }
      expect(rollbacks).toBe(done.filter(({ event }) => "rollBack" in event).length);
      await world.finish(follower.close());
    }),
    { numRuns: 30, endOnFailure: true },
  );
  expect(tally.taken).toBeGreaterThan(15);
});
