import { describe, expect, test } from "vitest";
import { checkFile } from "../boundaries-rules.ts";

// In pieces, so that this file does not name what it forbids.
const REGISTRY = ["registry", "npmjs", "org"].join(".");
const HOME = ["wo", "rk"].join("");

const messages = (path: string, text: string): string[] =>
  checkFile(path, text).map(({ line, message }) => `${line}: ${message}`);

describe("imports", () => {
  test.each([
    ["lib/a.ts", 'import { x } from "../sys/b.ts";'],
    ["sys/a.ts", 'import { x } from "../netem/core/link.ts";'],
    ["netem/udp/a.ts", 'import { x } from "../../gateway/core/code/code.ts";'],
    ["gateway/core/a.ts", 'import type { x } from "../../logfs/core/vfs.ts";'],
    ["mirror/link/a.ts", 'export { x } from "../../cli/main.ts";'],
    ["web/a.ts", 'import { x } from "../netem/core/link.ts";'],
    ["cli/a.ts", 'import { x } from "../test/sim/main.ts";'],
    ["logfs/log/a.ts", 'const x = await import("../../mirror/core/a.ts");'],
    ["netem/core/a.ts", 'import { x } from "../udp/relay.ts";'],
    ["netem/core/a.ts", 'import "node:fs";'],
    ["lib/a.ts", 'import { z } from "zod";'],
    ["netem/core/a.ts", 'import {\n  a,\n  b,\n} from "../../sys/socket.ts";'],
  ])("%s may not say %j", (path, text) => {
    expect(messages(path, text)).toHaveLength(1);
  });

  test.each([
    ["lib/crc32c.ts", 'import { crc32c } from "@node-rs/crc32";'],
    ["netem/udp/a.ts", 'import { x } from "../../sys/socket.ts";\nimport "node:fs";'],
    ["mirror/core/a.ts", 'import { x } from "../../logfs/core/vfs.ts";'],
    ["cli/demo/a.ts", 'import { x } from "../../web/serve.ts";'],
    ["test/unit/a.ts", 'import { x } from "../../cli/main.ts";'],
    ["vitest.config.ts", 'import { x } from "vitest/config";'],
  ])("%s may say %j", (path, text) => {
    expect(messages(path, text)).toEqual([]);
  });
});

describe("words", () => {
  test.each([
    ["docs/A.md", `a\nfrom https://${REGISTRY}/x`, "2: names a package registry"],
    ["lib/a.ts", `const path = "/${HOME}/main/x";`, "1: names a path of one machine"],
    ["README.md", "see /home/someone/notes", "1: names a path of one machine"],
    ["lib/a.ts", "// TODO later", "1: is unfinished: do it, or open an issue"],
    ["test/unit/a.test.ts", 'test.only("x", () => {});', "1: runs one test only"],
  ])("%s: %j is found", (path, text, finding) => {
    expect(messages(path, text)).toEqual([finding]);
  });

  test("names of files below a folder called home or work are no machine's paths", () => {
    expect(messages("docs/A.md", 'path = "/srv/smfs/home/x", or ./work/x')).toEqual([]);
  });
});
