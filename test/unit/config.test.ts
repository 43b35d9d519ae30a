import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { configFrom, loadConfig, parseConfig } from "../../cli/config.ts";
import {
  GATEWAY,
  LOG,
  MIRROR,
  MOUNT,
  PEER,
  SECTION_DOCS,
  SECTIONS,
  STATUS,
  STORE,
} from "../../cli/config-table.ts";
import { SmfsError } from "../../lib/errors.ts";

let directory: string | null = null;

afterEach(() => {
  if (directory !== null) rmSync(directory, { recursive: true });
  directory = null;
});

function fileWith(text: string): string {
  directory = mkdtempSync(join(tmpdir(), "smfs-config-"));
  const path = join(directory, "home.toml");
  writeFileSync(path, text);
  return path;
}

/** The lines of the failure. */
function problems(run: () => unknown): { code: string; lines: string[] } {
  try {
    run();
  } catch (error) {
    if (error instanceof SmfsError) return { code: error.code, lines: error.message.split("\n") };
    throw error;
  }
  throw new Error("nothing was refused");
}

/** Any 32 bytes. */
const PUBLIC_KEY = Buffer.alloc(32, 9).toString("base64");
const STORE_ONLY = '[store]\npath = "/srv/home"\n';

describe("values", () => {
  test("a store alone gives every default, in plain numbers", () => {
    expect(parseConfig(STORE_ONLY, "t")).toEqual({
      store: {
        path: "/srv/home",
        segmentBytes: 100e6,
        capacityBytes: null,
        commitIntervalMicros: 1e6,
        nodeCacheBytes: 64 * 2 ** 20,
        dirtyLimitBytes: 64 * 2 ** 20,
        garbageShare: 0.25,
      },
      mount: {
        point: null,
        allowOther: false,
        floor: "written",
        fsync: "network",
        dataSync: "network",
        osync: "network",
        onUnreachable: "block",
        timeoutMicros: 30e6,
      },
      mirror: null,
      status: { listen: null, allowRemote: false },
      log: { level: "info", file: null },
    });
  });

  test("what is written wins over the defaults", () => {
    const config = parseConfig(
      `${STORE_ONLY}capacity = "2GiB"
      [mount]
      point = "/home"
      floor = "local"
      timeout = "500ms"
      [mirror]
      peer = "192.0.2.7:7000"
      key_file = "/etc/smfs/key"
      rate = "100mbit"
      target_risk = 1e-9
      code = { r = 4, interleave = [1, 20] }
      adapt = true
      max_overhead = "75%"
      datagram = 1200
      [status]
      listen = "127.0.0.1:0"`,
      "t",
    );
    expect(config.store.capacityBytes).toBe(2 * 2 ** 30);
    expect(config.mount).toMatchObject({ point: "/home", floor: "local", timeoutMicros: 500_000 });
    expect(config.mirror).toEqual({
      listen: null,
      peer: "192.0.2.7:7000",
      key: { kind: "shared", file: "/etc/smfs/key" },
      rateBitsPerSecond: 100e6,
      targetRisk: 1e-9,
      code: { kind: "layered", r: 4, interleave: [1, 20] },
      adapt: { minOverhead: 0, maxOverhead: 0.75 },
      datagramBytes: 1200,
    });
    expect(config.status.listen).toBe("127.0.0.1:0");
  });
});

describe("messages", () => {
  test("all problems come at once, each with its line and what to write", () => {
    const text = `[store]
path = "/srv/home"
comit_interval = "1s"
capacity = "lots"

[mount]
floor = "lokal"
peer = "192.0.2.7:7000"
allow_other = "yes"

[mirorr]
rate = "1gbit"
`;
    expect(problems(() => parseConfig(text, "home.toml"))).toEqual({
      code: "CONFIG",
      lines: [
        `home.toml:4: [store] capacity: must be a size such as "64MiB" or "100MB", not "lots"`,
        "home.toml:3: [store] comit_interval: there is no such key; did you mean commit_interval?",
        'home.toml:9: [mount] allow_other: must be true or false, not "yes"',
        'home.toml:7: [mount] floor: must be one of "written", "local", "network", "remote", not "lokal"',
        "home.toml:8: [mount] peer: belongs in [mirror]",
        "home.toml:11: [mirorr]: there is no such section; did you mean mirror?",
      ],
    });
  });

  test.each([
    ["[store]\npath = ", /^home.toml:2:\d+: this is not TOML/],
    ["[mount]\n", /^home.toml: \[store\]: path is missing: write path = /],
    ['store = "/srv"', /^home.toml:1: \[store\]: must be a section: write \[store\]/],
    ['path = "/srv"', /^home.toml:1: \[path\]: is a key that belongs in \[store\]/],
    [`${STORE_ONLY}commit_interval = 5`, /duration such as "500ms".*, not 5$/],
    [`${STORE_ONLY}segment_size = "1KiB"`, /must lie between "1MiB" and "1GiB"/],
    [`${STORE_ONLY}xyzzy = 1`, /there are path, segment_size, capacity/],
    [`${STORE_ONLY}[mirror]\nkey_file = "k"`, /:3: \[mirror\]: write peer = /],
    [`${STORE_ONLY}[mirror]\npeer = "a:1"\nlisten = "b:2"\nkey_file = "k"`, /keep one of the two/],
    [`${STORE_ONLY}[mirror]\npeer = "a:1"`, /key_file is missing/],
    [`${STORE_ONLY}[mirror]\npeer = "a:1"\npublic_key = "k"`, /44 characters that smfs pubkey/],
    [
      `${STORE_ONLY}[mirror]\npeer = "a:1"\npublic_key = "${PUBLIC_KEY}"`,
      /private_key_file is missing/,
    ],
    [`${STORE_ONLY}[mirror]\npeer = "a:1"\nprivate_key_file = "k"`, /public_key is missing/],
    [`${STORE_ONLY}[mirror]\npeer = "a:1"\nkey_file = "k"\nprivate_key_file = "p"`, /but not both/],
    [`${STORE_ONLY}[mirror]\npeer = "somewhere"`, /an address and a port such as/],
    [`${STORE_ONLY}[mirror]\npeer = "a:99999"`, /an address and a port such as/],
    [`${STORE_ONLY}[mirror]\ntarget_risk = 1`, /a probability between 0 and 1/],
    [`${STORE_ONLY}[mirror]\ndatagram = 9000`, /whole bytes from 576 to \d+, not 9000/],
    [`${STORE_ONLY}[mirror]\ncode = { r = 0, interleave = [1] }`, /data packets per group/],
    [`${STORE_ONLY}[mirror]\ncode = { r = 8, interleave = [10, 1] }`, /ascending interleave/],
    [`${STORE_ONLY}[mirror]\ncode = { r = 8, interleave = [9999] }`, /at most 8192/],
    [`${STORE_ONLY}[mirror]\ncode = { r = 8, q = 1 }`, /such as \{ r = 8/],
    [`${STORE_ONLY}[mirror]\ncode = { r = 8, c = 3 }`, /such as \{ r = 8, c = 3, window = 400/],
    [`${STORE_ONLY}[mirror]\ncode = { r = 8, interleave = [1], c = 3 }`, /one or the other/],
    [
      `${STORE_ONLY}[mirror]\ncode = { r = 8, c = 3, window = 999, density = 2 }`,
      /window must be a whole number from 1 to 512/,
    ],
    [`${STORE_ONLY}[status]\nlisten = "0.0.0.0:80"`, /must be loopback, such as "127.0.0.1:0"/],
  ])("%j is told what to write instead", (text, message) => {
    const { code, lines } = problems(() => parseConfig(text, "home.toml"));
    expect(code).toBe("CONFIG");
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(message);
  });

  test("a page for everybody has to be asked for", () => {
    const text = `${STORE_ONLY}[status]\nlisten = "0.0.0.0:80"\nallow_remote = true`;
    expect(parseConfig(text, "t").status).toEqual({ listen: "0.0.0.0:80", allowRemote: true });
  });

  test("a file that is not there is CONFIG and names it", () => {
    const { code, lines } = problems(() => loadConfig("/nowhere/home.toml"));
    expect(code).toBe("CONFIG");
    expect(lines[0]).toContain("/nowhere/home.toml");
  });
});

describe("flags", () => {
  test("win over the file", () => {
    const config = configFrom(
      {
        config: fileWith(`${STORE_ONLY}[mirror]\nlisten = "a:1"\nkey_file = "k"\nrate = "1mbit"`),
        peer: "192.0.2.7:7000",
        floor: "remote",
        targetRisk: "1e-4",
      },
      "/srv/other",
      "/mnt",
    );
    expect(config.store.path).toBe("/srv/other");
    expect(config.mount).toMatchObject({ point: "/mnt", floor: "remote" });
    expect(config.mirror).toMatchObject({
      listen: null,
      peer: "192.0.2.7:7000",
      rateBitsPerSecond: 1e6,
      targetRisk: 1e-4,
    });
  });

  test("need no file", () => {
    expect(configFrom({}, "/srv/home").mirror).toBeNull();
    expect(configFrom({ peer: "a:1", keyFile: "k" }, "/srv/home").mirror?.peer).toBe("a:1");
  });

  test("that are wrong are named as typed, and are wrong usage", () => {
    const flags = { timeout: "soon", targetRisk: "tiny" };
    expect(problems(() => configFrom({ ...flags, listen: "a:1", keyFile: "k" }, "/srv"))).toEqual({
      code: "USAGE",
      lines: [
        `--timeout: must be a duration such as "500ms", "30s" or "10m", not "soon"`,
        "--target-risk: must be a probability between 0 and 1 such as 1e-6, not null",
      ],
    });
  });
});

test("docs/CONFIG.md says what the table says (vitest -u writes it)", async () => {
  expect(Object.values(SECTIONS)).toEqual([STORE, MOUNT, MIRROR, STATUS, LOG, GATEWAY, PEER]);
  await expect(configPage()).toMatchFileSnapshot("../../docs/CONFIG.md");
});

function configPage(): string {
  const head = `# Configuration

A TOML file, given to \`smfs mount --config FILE\` (flags win over it) or to \`smfs gateway up --config FILE\`. Every key may be left out unless it says otherwise. Sizes, durations and rates are texts with their unit: \`64MiB\` is 2^26 bytes and \`100MB\` is 10^8, \`1gbit\` is 10^9 bits per second. Anything that is not listed here is refused, with the nearest key that is.

This page is made from the table that reads the file (\`cli/config-table.ts\`).
`;
  const sections = Object.entries(SECTIONS).map(([name, table]) => {
    const keys = Object.entries(table).map(
      ([key, { form, fallback, doc }]) =>
        `- \`${key}\`: ${doc}. Write ${form}. ${fallback === null ? "No default." : `Default: \`${fallback}\`.`}`,
    );
    return `\n## [${name}]\n\n${SECTION_DOCS[name as keyof typeof SECTIONS]}\n\n${keys.join("\n")}\n`;
  });
  return head + sections.join("");
}
