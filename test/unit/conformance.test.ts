/** The conformance suites' own rules: what they would overlook is worth nothing. */
import { mkdtempSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Prng } from "../../lib/prng.ts";
import { Model, partsOf, perform, type Step } from "../conformance/kill/model.ts";
import { Checks } from "../conformance/suite.ts";
import { expectSame } from "../conformance/tree.ts";

describe("exclusions", () => {
  const lines: string[] = [];
  const checks = (): Checks =>
    new Checks(new Map([["listed", "its reason"]]), (line) => lines.push(line));

  it("a listed failure is counted apart, with its reason", async () => {
    const all = checks();
    await all.check("listed", () => Promise.reject(new Error("as ever")));
    await all.check("other", () => Promise.reject(new Error("new")));
    expect(all).toMatchObject({ passed: 0, failed: 1, excluded: 1 });
    expect(lines).toEqual(["excluded listed: its reason", "FAILED other: new"]);
  });

  it("a listed check that passes fails the suite", async () => {
    const all = checks();
    await all.check("listed", () => Promise.resolve());
    expect(all).toMatchObject({ passed: 0, failed: 1, excluded: 0 });
  });
});

describe("the model of kill-loop", () => {
  let folder: string;
  let model: Model;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "smfs-model-"));
    model = Model.make(folder);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("agrees with this machine's own file system, step by step", () => {
    const random = new Prng(7);
    const done = new Set<Step["do"]>();
    for (let i = 0; i < 400; i++) {
      const step = model.next(random);
      perform(folder, step);
      model.apply(step);
      done.add(step.do);
    }
    expect(model.difference(folder)).toBeUndefined();
    expect(Model.load(folder).difference(folder)).toBeUndefined();
    expect(done.size).toBe(7);
  });

  it("sees a lost byte, and a name too many", () => {
    const write: Step = { do: "write", name: "a/1", offset: 5, data: Buffer.from("content") };
    for (const step of [{ do: "create", name: "a/1" } as const, write]) {
      perform(folder, step);
      model.apply(step);
    }
    truncateSync(join(folder, "a/1"), 11);
    expect(model.difference(folder)).toBe("a/1: 11 bytes, not 12, the first wrong one at 11");
    perform(folder, { do: "create", name: "b/2" });
    expect(model.difference(folder)).toBe("names a/1 b/2, not a/1");
  });

  it("a write under way may end where a page ends, and nowhere else", () => {
    const data = Buffer.alloc(10_000);
    const parts = [...partsOf({ do: "write", name: "a/1", offset: 4000, data })];
    const ends = parts.map((part) => (part.do === "write" ? 4000 + part.data.length : 0));
    expect(ends).toEqual([4096, 8192, 12_288, 14_000]);
  });
});

it("a difference between trees names what is missing and what is new", () => {
  expect(() => expectSame(["a", "b"], ["b", "c"])).toThrow("2 differences\n- a\n+ c");
  expect(() => expectSame(["a", "a"], ["a"])).toThrow("differences");
  expectSame(["a", "b"], ["b", "a"]);
});
