/** The bench of the codes works, and says what everybody knows of them. */
import { describe, expect, it } from "vitest";
import { QUICK, run } from "../../bench/fec.ts";
import { CODES, LINKS } from "../../bench/fec-comparison.ts";

describe("npm run bench -- fec", () => {
  const result = run(QUICK);
  const outcome = (code: string, link: string) => {
    const found = result.outcomes.find((one) => one.code === code && one.link === link);
    if (found === undefined) throw new Error(`nothing about ${code} and ${link}`);
    return found;
  };

  it("has a figure for every code on every link", () => {
    expect(result.outcomes.length).toBe(CODES.length * LINKS.length);
    expect(result.costs.map(({ code }) => code)).toEqual(CODES.map(({ name }) => name));
    for (const rate of Object.values(result.bytesPerSecond)) expect(rate).toBeGreaterThan(0);
  });

  it("finds nothing beyond repair at 0.5 % of independent loss", () => {
    for (const { name } of CODES) {
      expect(outcome(name, "independent 0.5 %")).toMatchObject({ notRebuiltShare: 0 });
    }
  });

  it("finds short blocks helpless against bursts, and a wide window not", () => {
    expect(outcome("RS (8, 3)", "bursts of 5, 1 %").notRebuiltShare).toBeGreaterThan(0.3);
    expect(outcome("RLC W=400", "bursts of 5, 1 %").notRebuiltShare).toBe(0);
  });

  it("finds a sliding window faster than layers", () => {
    const [window, layers] = ["RLC W=400, density 2/16", "layered (1, 10, 100)"].map((code) =>
      outcome(code, "independent 2 %"),
    );
    expect(window?.p99Delay).toBeLessThan(layers?.p99Delay ?? 0);
  });
});
