/** Reads answered at once may stand in memory that the next one uses; no other read may. */
import { describe, expect, test } from "vitest";
import { concatBytes } from "../../lib/bytes.ts";
import { ROOT_INODE } from "../../logfs/core/vfs.ts";
import { bytesOf, expectBytes, FsWorld, name, READ_WRITE, ROOT } from "../fs-world.ts";
import { OneFile } from "../one-file.ts";

/** Blocks that stand at even addresses come at once, into memory given; the others later. */
function halfCached({ volume }: FsWorld): { now: number; late: number } {
  const reads = { now: 0, late: 0 };
  const readBlock = volume.readBlock.bind(volume);
  volume.readBlock = (segment, offset, length, into) => {
    const bytes = (readBlock(segment, offset, length) as Uint8Array).slice();
    if ((offset >>> 12) % 2 === 1) {
      reads.late++;
      return Promise.resolve().then(() => {
        // Another read has used the memory meanwhile.
        if (into !== undefined) new Uint8Array(into.buffer).fill(0xee);
        return bytes;
      });
    }
    reads.now++;
    into?.set(bytes);
    return into?.subarray(0, length) ?? bytes;
  };
  return reads;
}

/** The tree answers later, the data at once, into memory given. */
function withNodesLate({ volume }: FsWorld): { late: boolean; memory: number } {
  const given = { late: true, memory: 0 };
  const view = volume.view.bind(volume);
  volume.view = (operation) =>
    given.late ? Promise.resolve().then(() => view(operation)) : view(operation);
  const readBlock = volume.readBlock.bind(volume);
  volume.readBlock = (segment, offset, length, into) => {
    const bytes = readBlock(segment, offset, length) as Uint8Array;
    if (into === undefined) return bytes;
    given.memory++;
    into.set(bytes);
    return into.subarray(0, length);
  };
  return given;
}

describe("memory of reads", () => {
  test("BlocksThatComeAtOnceAndLaterMakeOneRead", async () => {
    const file = await OneFile.make();
    // Far from one another in the log: each block is read by itself.
    for (const at of [6, 4, 2, 0, 5, 3, 1]) {
      await file.write(at * 5000, bytesOf(5000, at));
      await file.write(1_000_000, bytesOf(7000));
    }
    const expected = await file.read(0, 35_000);
    const reads = halfCached(file.world);
    for (let time = 0; time < 3; time++) expect(await file.read(0, 35_000)).toEqual(expected);
    expect(reads.now).toBeGreaterThan(3);
    expect(reads.late).toBeGreaterThan(3);
  });

  test("ReadsThatComeLaterDoNotShareMemory", async () => {
    const world = new FsWorld();
    const files = [];
    for (const n of [0, 1, 2, 3]) {
      const content = bytesOf(20_000, n);
      const made = world.fs.create(ROOT, ROOT_INODE, name(`f${n}`), 0o644, true, READ_WRITE);
      const { handle } = await world.run(made);
      await world.run(world.fs.write(handle, 0, content, "none"));
      files.push({ handle, content });
    }
    const given = withNodesLate(world);
    const reads = files.map(async ({ handle }) => world.fs.read(handle, 0, 20_000));
    const pieces = await world.run(Promise.all(reads));
    for (const [i, { content }] of files.entries()) {
      expectBytes(concatBytes(pieces[i] ?? []), content);
    }
    // Those that are answered at once do: or this would show nothing.
    expect(given.memory).toBe(0);
    given.late = false;
    for (const { handle } of files) void world.fs.read(handle, 0, 20_000);
    expect(given.memory).toBe(files.length);
  });
});
