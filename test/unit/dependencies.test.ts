import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const read = (name: string): string =>
  readFileSync(new URL(`../../${name}`, import.meta.url), "utf8");

/** Name and version of each row of the page's tables. */
function documented(): string[] {
  const rows = read("docs/DEPENDENCIES.md").matchAll(/^\| (\S+)\s*\| (\d\S*), \d{4}-\d\d-\d\d/gm);
  return [...rows].map(([, name, version]) => `${name} ${version}`).toSorted();
}

test("docs/DEPENDENCIES.md has every direct dependency at its version, and no other", () => {
  const { dependencies, optionalDependencies, devDependencies } = JSON.parse(
    read("package.json"),
  ) as Record<"dependencies" | "optionalDependencies" | "devDependencies", Record<string, string>>;
  const declared = Object.entries({ ...dependencies, ...optionalDependencies, ...devDependencies });
  expect(declared.length).toBeGreaterThan(10);
  expect(documented()).toEqual(declared.map(([name, version]) => `${name} ${version}`).toSorted());
});
