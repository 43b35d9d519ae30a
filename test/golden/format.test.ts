/**
 * FORMAT.md shows the layouts that the code declares: the tables between its markers are made from
 * the structs, and this test fails when they differ. `UPDATE=1` writes them.
 *
 * To document another module's structs, add it to `MODULES` and put a pair of markers
 * `<!-- table NAME -->` … `<!-- end -->` for each into FORMAT.md.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Struct } from "../../lib/codec.ts";
import * as blocks from "../../gateway/core/code/blocks.ts";
import * as packets from "../../gateway/core/transport/packets.ts";
import * as repair from "../../gateway/core/code/repair.ts";
import * as transparentPackets from "../../gateway/core/ip/transparent-packets.ts";
import * as tunnelPackets from "../../gateway/core/ip/tunnel-packets.ts";
import * as items from "../../logfs/core/fs/items.ts";
import * as liveBytes from "../../logfs/core/fs/live-bytes.ts";
import * as moved from "../../logfs/core/fs/moved.ts";
import * as node from "../../logfs/core/fs/node.ts";
import * as snapshot from "../../logfs/core/fs/snapshot.ts";
import * as superblock from "../../logfs/core/fs/superblock.ts";
import * as update from "../../logfs/core/fs/update.ts";
import * as logFormat from "../../logfs/core/log/format.ts";
import * as messages from "../../mirror/core/messages.ts";

const MODULES: readonly object[] = [
  logFormat,
  superblock,
  liveBytes,
  snapshot,
  update,
  moved,
  node,
  items,
  messages,
  packets,
  transparentPackets,
  tunnelPackets,
  blocks,
  repair,
];
const FILE = new URL("../../FORMAT.md", import.meta.url);
const TABLE = /<!-- table ([\w ]+) -->\n[\s\S]*?<!-- end -->/g;

const structs = new Map<string, Struct<unknown>>(
  MODULES.flatMap((module) => Object.values(module).filter(isStruct)).map((one) => [one.name, one]),
);

function isStruct(value: unknown): value is Struct<unknown> {
  return typeof value === "object" && value !== null && "rows" in value && "size" in value;
}

function table({ name, size, rows }: Struct<unknown>): string {
  const cells = rows.map((row) => [
    String(row.offset),
    String(row.size),
    row.kind,
    row.name,
    row.doc.replaceAll("|", "\\|"),
  ]);
  const lines = [["at", "bytes", "type", "field", "meaning"], Array(5).fill("---"), ...cells];
  const body = lines.map((line) => `| ${line.join(" | ")} |`).join("\n");
  return `<!-- table ${name} -->\n${name}, ${size} bytes:\n\n${body}\n<!-- end -->`;
}

function rendered(text: string): string {
  return text.replace(TABLE, (_, name: string) => {
    const declared = structs.get(name);
    if (declared === undefined) throw new Error(`FORMAT.md has a table for no struct: ${name}`);
    return table(declared);
  });
}

describe("FORMAT.md", () => {
  test("has the layouts as they are declared", () => {
    const text = readFileSync(FILE, "utf8");
    const wanted = rendered(text);
    if (process.env["UPDATE"] === "1") writeFileSync(FILE, wanted);
    else expect(text).toBe(wanted);
  });

  test("has a table for every struct", () => {
    const shown = [...readFileSync(FILE, "utf8").matchAll(TABLE)].map((match) => match[1]);
    expect(structs.size).toBeGreaterThan(0);
    expect([...structs.keys()].filter((name) => !shown.includes(name))).toEqual([]);
  });
});
