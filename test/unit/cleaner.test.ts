import { describe, expect, test } from "vitest";
import { Prng } from "../../lib/prng.ts";
import { CleanerWorld } from "../cleaner-world.ts";
import { expectBytes } from "../fs-world.ts";

const BLOCK = 4096;

/** A file of blocks with known contents, overwritten at random. */
class Churn {
  readonly content: Uint8Array;
  readonly handle: number;
  private readonly world: CleanerWorld;
  private readonly prng: Prng;

  constructor(world: CleanerWorld, handle: number, bytes: number, seed: number) {
    this.world = world;
    this.handle = handle;
    this.content = new Uint8Array(bytes);
    this.prng = new Prng(seed);
  }

  async fill(): Promise<void> {
    for (let at = 0; at < this.content.length; at += BLOCK) await this.write(at);
  }

  async overwrite(times: number): Promise<void> {
    const blocks = this.content.length / BLOCK;
    for (let i = 0; i < times; i++) await this.write(this.prng.below(blocks) * BLOCK);
  }

  async verify(): Promise<void> {
    for (let at = 0; at < this.content.length; at += 2 ** 20) {
      const wanted = this.content.subarray(at, at + 2 ** 20);
      expectBytes(await this.world.read(this.handle, at, wanted.length), wanted);
    }
  }

  private async write(at: number): Promise<void> {
    const data = this.prng.fill(new Uint8Array(BLOCK));
    expect(await this.world.write(this.handle, at, data)).toBe("ok");
    this.content.set(data, at);
  }
}

async function churn(world: CleanerWorld, bytes: number, seed = 1): Promise<Churn> {
  const { handle } = await world.create(`churn-${seed}`);
  const made = new Churn(world, handle, bytes, seed);
  await made.fill();
  return made;
}

describe("a small store with a cleaner", () => {
  test.each([0.5, 0.75])(
    "at %f of its capacity it takes overwrites of many times its size",
    async (utilisation) => {
      const world = new CleanerWorld();
      const bytes = Math.floor((world.disk.space().totalBytes * utilisation) / BLOCK) * BLOCK;
      const file = await churn(world, bytes);
      await file.overwrite(1500);
      await file.verify();
      expect(world.troubles).toEqual([]);
      expect(world.cleaner.counters.cleanedSegments).toBeGreaterThan(20);
      await world.settle();
      expect(await world.findings()).toEqual([]);
    },
  );
});
