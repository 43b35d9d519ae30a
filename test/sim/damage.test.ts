/** Every sector of a small image, unreadable or with a bit flipped: right, or refused with a place. */
import { describe, expect, it } from "vitest";
import { Prng } from "../../lib/prng.ts";
import { type Damage, type Outcome, suffer } from "./damage.ts";
import { SECTOR_BYTES } from "./disk-image.ts";
import { liveIn, type LivedIn } from "./lived-in.ts";

const OPERATIONS = 60;

async function tallyOf(whole: LivedIn, damages: Iterable<Damage>): Promise<Map<Outcome, number>> {
  const tally = new Map<Outcome, number>();
  for (const damage of damages) {
    const outcome = await suffer(whole, damage).catch((error: unknown) => {
      throw new Error(JSON.stringify(damage), { cause: error });
    });
    tally.set(outcome, (tally.get(outcome) ?? 0) + 1);
  }
  return tally;
}

function* sectorsOf({ image }: LivedIn): Generator<{ segment: number; offset: number }> {
  for (const segment of image.segments()) {
    const length = image.lengthOf(segment);
    for (let offset = 0; offset < length; offset += SECTOR_BYTES) yield { segment, offset };
  }
}

describe("damage at rest", () => {
  it("any sector that cannot be read", async () => {
    // Here a sector between the blocks of a file is among them: what nobody asked for must not matter.
    const whole = await liveIn(3, OPERATIONS);
    const damages = [...sectorsOf(whole)].map((at): Damage => ({ kind: "sector", ...at }));
    const tally = await tallyOf(whole, damages);
    expect(tally.get("refused")).toBeGreaterThan(20);
  }, 60_000);

  it("a bit flipped in any sector", async () => {
    const whole = await liveIn(3, OPERATIONS);
    const prng = new Prng(2);
    const damages = [...sectorsOf(whole)].map((at): Damage => {
      const offset = at.offset + prng.below(SECTOR_BYTES);
      return { kind: "bit", segment: at.segment, offset, bit: prng.below(8) };
    });
    const tally = await tallyOf(whole, damages);
    expect(tally.get("refused")).toBeGreaterThan(20);
  }, 60_000);
});
