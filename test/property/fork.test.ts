/**
 * Stores that are forked from one another, at random: each shows what its own history made of it,
 * however the others change, clean and drop what they share.
 */
import * as fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { fork } from "../../cli/fork.ts";
import type { PrimarySite } from "../../cli/site/primary.ts";
import { digest, digests, durable, ForkWorld, write } from "../fork-world.ts";
import { bytesOf, name, ROOT } from "../fs-world.ts";

const MAX_STORES = 3;
const FILES = ["a", "b", "c", "d"];

type Action =
  | { kind: "write"; store: number; file: number; bytes: number }
  | { kind: "remove"; store: number; file: number }
  | { kind: "fork" | "forget" | "checkpoint" | "remount"; store: number };

const store = fc.nat(MAX_STORES - 1);
const file = fc.nat(FILES.length - 1);
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("write" as const),
      store,
      file,
      bytes: fc.integer({ min: 1, max: 2 ** 20 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("remove" as const), store, file }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom("fork", "forget", "checkpoint", "remount"),
      store,
    }),
  },
);

interface Kept {
  site: PrimarySite;
  readonly store: string;
  readonly files: Map<string, Uint8Array>;
}

/** The stores, and what each should show. */
class Family {
  readonly world = new ForkWorld();
  private readonly members: Kept[] = [];
  private snapshots = 0;

  async begin(): Promise<void> {
    this.members.push({ site: await this.world.mkfs("0"), store: "0", files: new Map() });
  }

  async run(step: Action): Promise<void> {
    const member = this.members[step.store % this.members.length];
    if (member === undefined) return;
    switch (step.kind) {
      case "write":
        return this.write(member, FILES[step.file] ?? "", bytesOf(step.bytes));
      case "remove":
        return this.remove(member, FILES[step.file] ?? "");
      case "fork":
        return this.fork(member);
      case "forget":
        for (const kept of member.site.volume.keptSnapshots) {
          member.site.volume.snapshots.remove(kept.name);
        }
        return;
      case "checkpoint":
        member.site.volume.checkpoint();
        return durable(member.site);
      case "remount":
        await this.world.unmount(member.site);
        expect(await this.world.findings(member.store)).toEqual([]);
        member.site = await this.world.mount(member.store);
    }
  }

  private async write({ site, files }: Kept, path: string, data: Uint8Array): Promise<void> {
    await write(site, path, data);
    const old = files.get(path) ?? new Uint8Array(0);
    const whole = new Uint8Array(Math.max(old.length, data.length));
    whole.set(old);
    whole.set(data);
    files.set(path, whole);
  }

  private async remove({ site, files }: Kept, path: string): Promise<void> {
    if (files.delete(path)) await site.fileSystem.unlink(ROOT, 1, name(path));
  }

  private async fork({ site, store: parent, files }: Kept): Promise<void> {
    if (this.members.length === MAX_STORES) return;
    const snapshot = `s${this.snapshots++}`;
    site.volume.snapshots.take(snapshot);
    const child = String(this.members.length);
    await fork({ store: this.world.at(parent), name: snapshot }, this.world.at(child));
    const opened = await this.world.mount(child);
    this.members.push({ site: opened, store: child, files: new Map(files) });
  }

  async check(): Promise<void> {
    for (const { site, files } of this.members) {
      const wanted = [...files].map(([path, data]) => [path, digest(data)] as const);
      expect(new Map(await digests(site))).toEqual(new Map(wanted));
    }
  }

  async end(): Promise<void> {
    for (const { site, store: path } of this.members) {
      await this.world.unmount(site);
      expect(await this.world.findings(path)).toEqual([]);
    }
  }
}

beforeEach(() => {
  vi.spyOn(process.stdout, "write").mockReturnValue(true);
});
afterEach(() => {
  vi.restoreAllMocks();
});

test("stores that share segments never see one another's changes", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 10, maxLength: 25 }), async (steps) => {
      const family = new Family();
      try {
        await family.begin();
        for (const step of steps) await family.run(step);
        await family.check();
        await family.end();
      } finally {
        await family.world.close();
      }
    }),
    { numRuns: 4, endOnFailure: true },
  );
}, 120_000);
