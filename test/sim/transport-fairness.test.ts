/** Associations that share a bottleneck. */
import { describe, expect, it } from "vitest";
import { jainIndex, SharedWorld } from "./transport-shared.ts";

const MILLISECOND = 1000;
const SECOND = 1_000_000;
const RATE = 5e7;
/** Two associations, a round trip of 40 ms each. */
const ONE_WAY = 20 * MILLISECOND;

describe("two associations with equal round trips", () => {
  it("share the line, though one came first and had it all", () => {
    const world = new SharedWorld(1, { rateBitsPerSecond: RATE }, {});
    world.join(ONE_WAY);
    world.run(2 * SECOND);
    const [alone = 0] = world.run(SECOND);
    expect(8 * alone).toBeGreaterThan(0.55 * RATE);
    world.join(ONE_WAY);
    // 150 round trips.
    world.run(6 * SECOND);
    const shares = world.run(3 * SECOND);
    expect(jainIndex(shares), String(shares)).toBeGreaterThanOrEqual(0.95);
    // A third of the line is repairs and headers.
    expect((8 * ((shares[0] ?? 0) + (shares[1] ?? 0))) / 3).toBeGreaterThan(0.55 * RATE);
  });
});
