/** The simulated disk keeps its promises and breaks the rest, or tests on it would show nothing. */
import { describe, expect, test } from "vitest";
import { Prng } from "../../lib/prng.ts";
import { VirtualClock } from "../sim/clock.ts";
import { type DiskOptions, SimulatedDisk } from "../sim/disk.ts";
import { bodyOf, codeOf } from "../sim/log-world.ts";

const SEGMENT_BYTES = 65536;

function newDisk(options: Partial<DiskOptions> = {}) {
  const clock = new VirtualClock();
  const disk = new SimulatedDisk(clock.schedule, options);
  disk.allocate(1, SEGMENT_BYTES);
  return { clock, disk };
}

const whole = (disk: SimulatedDisk) => disk.readSync(1, 0, SEGMENT_BYTES);

/** Eight writes of eight sectors, the first four synced; then the power goes. */
function historyWithCrash(seed: number): Uint8Array {
  const { clock, disk } = newDisk();
  for (let i = 0; i < 8; i++) {
    disk.write(1, i * 4096, [bodyOf(4096)], () => {});
    clock.advance(100);
    if (i === 3) disk.sync(1, () => {});
    if (i === 3) clock.advance(5000);
  }
  disk.crash(new Prng(seed));
  return whole(disk);
}

const sectorsOf = (bytes: Uint8Array, from: number, to: number) =>
  Array.from({ length: (to - from) / 512 }, (_, i) =>
    bytes.subarray(from + i * 512, from + i * 512 + 512).some((byte) => byte !== 0),
  );

describe("the simulated disk", () => {
  test("keeps what was synced, and of the rest some sectors and not others", () => {
    const outcomes = Array.from({ length: 20 }, (_, seed) => historyWithCrash(seed));
    for (const bytes of outcomes) {
      expect(sectorsOf(bytes, 0, 4 * 4096).every(Boolean)).toBe(true);
    }
    const loose = outcomes.flatMap((bytes) => sectorsOf(bytes, 4 * 4096, 8 * 4096));
    expect(loose.includes(true)).toBe(true);
    expect(loose.includes(false)).toBe(true);
    const torn = outcomes.map((bytes) => sectorsOf(bytes, 7 * 4096, 8 * 4096));
    expect(torn.some((sectors) => sectors.includes(true) && sectors.includes(false))).toBe(true);
  });

  test("can lose an earlier write and keep a later one", () => {
    const reordered = Array.from({ length: 50 }, (_, seed) => historyWithCrash(seed)).some(
      (bytes) =>
        !sectorsOf(bytes, 4 * 4096, 5 * 4096).includes(true) &&
        sectorsOf(bytes, 5 * 4096, 8 * 4096).includes(true),
    );
    expect(reordered).toBe(true);
  });

  test("loses the same for the same seed", () => {
    expect(historyWithCrash(11)).toEqual(historyWithCrash(11));
  });

  test("a sync covers the writes that had finished when it began, and no later one", () => {
    const lost = Array.from({ length: 20 }, (_, seed) => {
      const copy = newDisk();
      copy.disk.write(1, 0, [bodyOf(512)], () => {});
      copy.clock.advance(60);
      copy.disk.sync(1, () => {});
      copy.disk.write(1, 512, [bodyOf(512)], () => {});
      copy.clock.advance(3000);
      copy.disk.crash(new Prng(seed));
      return sectorsOf(whole(copy.disk), 0, 1024);
    });
    expect(lost.every(([first]) => first === true)).toBe(true);
    expect(lost.some(([, second]) => second === false)).toBe(true);
  });

  test("the end of the process keeps what was written and answers no call of before", () => {
    const { clock, disk } = newDisk();
    let answers = 0;
    disk.write(1, 0, [bodyOf(512)], () => answers++);
    clock.advance(60);
    disk.sync(1, () => answers++);
    disk.killProcess(new Prng(1));
    clock.drain();
    expect(answers).toBe(1);
    expect(disk.readSync(1, 0, 512)).toEqual(bodyOf(512));
  });

  test("refuses what passes its capacity, and a sector that cannot be read", () => {
    const { disk } = newDisk({ capacityBytes: 100_000, reserveBytes: 4096 });
    expect(codeOf(() => disk.allocate(2, 40_000))).toBe("NO_SPACE");
    expect(disk.list().length).toBe(1);
    disk.makeUnreadable(1, 5000);
    expect(codeOf(() => disk.readSync(1, 4000, 2000))).toBe("IO");
    expect(codeOf(() => disk.readSync(1, 0, 4096))).toBeUndefined();
  });
});
