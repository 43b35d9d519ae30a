import { describe, expect, test } from "vitest";
import type { ErrnoName } from "../../lib/errno.ts";
import { FileSystem } from "../../logfs/core/fs/filesystem.ts";
import { FrozenVolume } from "../../logfs/core/fs/frozen-volume.ts";
import {
  type Moment,
  type PastState,
  pastStates,
  stateBefore,
} from "../../logfs/core/fs/history.ts";
import { FsWorld, name, READ, READ_WRITE, ROOT } from "../fs-world.ts";

const SMALL = { log: { segmentBytes: 256 * 1024, allocationBytes: 16_384 } };
const NOTHING_TO_WAIT_FOR = { wait: () => undefined };

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const value of values) list.push(value);
  return list;
}

class PastWorld extends FsWorld {
  get checkpoint() {
    if (this.log.checkpoint === null) throw new Error("the log has no checkpoint");
    return this.log.checkpoint;
  }

  async write(file: string, text: string, extra = 0): Promise<void> {
    const options = { ...READ_WRITE, truncate: true };
    const { handle } = await this.run(this.fs.create(ROOT, 1, name(file), 0o644, false, options));
    const bytes = new Uint8Array(text.length + extra);
    bytes.set(name(text));
    await this.run(this.fs.write(handle, 0, bytes, "none"));
    await this.run(this.fs.release(handle));
  }

  states(): Promise<PastState[]> {
    return this.run(all(pastStates(this.log, this.checkpoint)));
  }

  /** The beginning of a file as it was. */
  async textAt(moment: Moment, file: string): Promise<string> {
    const state = await this.run(stateBefore(this.log, this.checkpoint, moment));
    const environment = { clock: this.clock, space: () => this.disk.space() };
    const opening = FrozenVolume.open(this.log, state, environment, moment);
    const fs = new FileSystem(await this.run(opening), NOTHING_TO_WAIT_FOR);
    const { inode } = await this.run(fs.lookup(ROOT, 1, name(file)));
    const pieces = await this.run(fs.read(await this.run(fs.open(ROOT, inode, READ)), 0, 10));
    return Buffer.concat(pieces).toString("latin1").replaceAll("\0", "");
  }
}

describe("a log from which nothing was dropped", () => {
  test("shows the state after each of its records, and at each time", async () => {
    const world = new PastWorld();
    const moments: { sequence: number; micros: number; text: string }[] = [];
    for (let i = 0; i < 12; i++) {
      await world.write("file", `text ${i}`);
      const { sequence } = world.log.head;
      moments.push({ sequence, micros: world.clock.wallMicros(), text: `text ${i}` });
      world.clock.advance(1e6);
      if (i % 4 === 3) world.volume.checkpoint();
    }
    await world.remount();
    expect((await world.states()).length).toBe(4);
    for (const { sequence, micros, text } of moments) {
      expect(await world.textAt({ sequence }, "file")).toBe(text);
      expect(await world.textAt({ micros }, "file")).toBe(text);
    }
    expect(await world.errno(() => world.textAt({ sequence: 2 }, "file"))).toBe("ENOENT");
  });

  test("has the states of its checkpoints, each reaching to the next", async () => {
    const world = new PastWorld();
    for (let i = 0; i < 3; i++) {
      await world.write("file", `text ${i}`);
      world.volume.checkpoint();
    }
    await world.write("file", "last");
    const states = await world.states();
    expect(states.map(({ untilSequence }) => untilSequence)).toEqual([
      world.log.head.sequence,
      ...states.slice(0, -1).map(({ sequence }) => sequence - 1),
    ]);
  });

  test("ends where a checkpoint is damaged; without the newest there is nothing", async () => {
    const world = new PastWorld();
    const damage = ({ segment, offset }: { segment: number; offset: number }) => {
      world.disk.flipBit(segment, offset + 20, 1);
    };
    for (let i = 0; i < 4; i++) {
      await world.write("file", `text ${i}`);
      world.volume.checkpoint();
    }
    await world.remount();
    const states = await world.states();
    expect(states).toHaveLength(5);
    damage(states[2] as PastState);
    expect(await world.states()).toEqual(states.slice(0, 2));
    damage(states[0] as PastState);
    await expect(world.states()).rejects.toMatchObject({ code: "DAMAGED" });
  });

  test("does not show what is to come", async () => {
    const world = new PastWorld();
    const moment = { sequence: world.log.head.sequence + 1 };
    const refused = world.run(stateBefore(world.log, world.checkpoint, moment));
    await expect(refused).rejects.toThrow("the newest record is");
  });
});

test("a state that lost a segment is refused, with what is left", async () => {
  const world = new PastWorld(SMALL);
  await world.write("kept", "kept", 230_000);
  await world.write("file", "old", 50_000);
  world.volume.checkpoint();
  const { sequence } = world.log.head;
  for (let i = 0; i < 40; i++) await world.write("file", `new ${i}`, 50_000);
  world.volume.checkpoint();
  const newest = world.log.head.sequence;
  world.settle();
  await world.write("file", "last");
  world.settle();
  expect(world.log.statistics.segmentsDropped).toBeGreaterThan(3);
  const states = await world.states();
  expect(states.length).toBeGreaterThan(0);
  for (const state of states) {
    expect(state.sequence <= sequence && sequence <= state.untilSequence).toBe(false);
  }
  const refused = world.run(stateBefore(world.log, world.checkpoint, { sequence }));
  await expect(refused).rejects.toMatchObject({
    code: "NOT_FOUND",
    message: expect.stringMatching(/dropped; nearest that are there: .*record \d+ and later/),
  });
  expect(await world.textAt({ sequence: newest }, "file")).toBe("new 39");
  expect(await world.textAt({ sequence: newest }, "kept")).toBe("kept");
});

test.each<[string, (at: { segment: number; offset: number }) => Moment, ErrnoName]>([
  ["record 1", () => ({ sequence: 1 }), "ENOENT"],
  ["1970", () => ({ micros: 0 }), "ENOENT"],
])("before the first checkpoint there is nothing: %s", async (_, moment, errno) => {
  const world = new PastWorld();
  const { checkpoint } = world;
  const look = () => stateBefore(world.log, checkpoint, moment(checkpoint));
  expect(await world.errno(look)).toBe(errno);
});
