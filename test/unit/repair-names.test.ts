/** Whatever rule of the file system is broken, a repair keeps it again and loses nothing else. */
import { describe, expect, test } from "vitest";
import { breakages, change, moreBreakages, populated } from "../broken-world.ts";
import { expectClean, repair, stop, treeOf } from "../repair-world.ts";

/** Files that no breakage is about: their paths begin so. */
const UNTOUCHED = /^\/a\/f\d+$/;

const all = [...breakages.map(([what, breakIt]) => [what, breakIt] as const), ...moreBreakages];

describe("a repair of", () => {
  test.each(all)("%s", async (what, breakIt) => {
    const { world, ids } = await populated();
    const before = await treeOf(world);
    await change(world, (t) => breakIt(t, ids));
    stop(world);
    const repaired = await repair(world);
    // An extent into a segment that is not there stays, and cannot be read: nobody knows what it held.
    const { findings } = repaired.check;
    if (what.includes("segment that is not there")) {
      expect(findings).toMatchObject([{ problem: "segment-missing" }]);
      expectClean(await repair(world, { damagedData: "zero" }));
    } else expectClean(repaired);
    expect(repaired.actions.length).toBeGreaterThan(0);
    await world.remount();
    const after = await treeOf(world);
    const contents = new Set(after.values());
    for (const [path, content] of before) {
      if (UNTOUCHED.test(path)) expect(contents).toContain(content);
    }
    const again = await repair(world);
    expect(again.actions).toEqual([]);
  });
});

test("what has lost its name is found in /lost+found, with all that stands in it", async () => {
  const { world, ids } = await populated();
  const before = await treeOf(world);
  const [, breakIt] = moreBreakages.find(([what]) => what.includes("directory that lost")) ?? [];
  await change(world, (t) => breakIt?.(t, ids));
  stop(world);
  expectClean(await repair(world));
  await world.remount();
  const after = await treeOf(world);
  const home = `/lost+found/#${ids.a}`;
  for (const [path, what] of before) {
    const isIn = path.startsWith("/a/");
    expect(after.get(isIn ? home + path.slice(2) : path === "/a" ? home : path)).toBe(what);
  }
});
