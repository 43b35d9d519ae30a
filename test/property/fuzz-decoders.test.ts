/**
 * Every decoder of the log and the file system on bytes that a lived-in image holds, changed: a value
 * or an `SmfsError`. Checksums are made right after the change. FUSE requests and `store.json` are
 * changed, too. A seed is one change; failures print it.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { viewOf } from "../../lib/codec.ts";
import { crc32c } from "../../lib/crc32c.ts";
import { SmfsError } from "../../lib/errors.ts";
import { Prng } from "../../lib/prng.ts";
import * as items from "../../logfs/core/fs/items.ts";
import { decodeTable } from "../../logfs/core/fs/live-bytes.ts";
import { decodeNode } from "../../logfs/core/fs/node-codec.ts";
import { decodeCheckpoint } from "../../logfs/core/fs/superblock.ts";
import { decodeUpdate } from "../../logfs/core/fs/update.ts";
import {
  EpochStart,
  KIND,
  RecordHeader,
  SealSummary,
  SegmentHeader,
} from "../../logfs/core/log/format.ts";
import { readRecordHeader } from "../../logfs/core/log/record.ts";
import { readSegmentHeader } from "../../logfs/core/log/segment.ts";
import { StoreRegistry } from "../../logfs/log/registry.ts";
import { ImageSurgery, mutate } from "../image-surgery.ts";
import type { DiskImage } from "../sim/disk-image.ts";
import { liveIn } from "../sim/lived-in.ts";
import { Harness, request, u32, u64 } from "../unit/fuse-harness.ts";

const SEEDS = 3000;
const MOST_VALUE_BYTES = 4200;

interface Sample {
  readonly what: string;
  readonly bytes: Uint8Array;
  readonly decode: (bytes: Uint8Array) => unknown;
}

let samples: readonly Sample[] = [];
let directory = "";

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "smfs-fuzz-"));
  samples = samplesOf((await liveIn(5, 60)).image);
});

afterAll(() => rmSync(directory, { recursive: true }));

/** Where the checksum of a header stands, and how it is read back. */
const healed =
  (checksumAt: number, decode: (bytes: Uint8Array) => unknown) => (bytes: Uint8Array) => {
    if (bytes.length >= checksumAt + 4) {
      viewOf(bytes).setUint32(checksumAt, crc32c(bytes.subarray(0, checksumAt)), true);
    }
    return decode(bytes);
  };

const asRecord = healed(RecordHeader.offsetOf("headerChecksum"), (bytes) =>
  readRecordHeader(bytes, 0),
);

function samplesOf(image: DiskImage): Sample[] {
  const surgery = new ImageSurgery(image);
  const all: Sample[] = image.segments().map((segment) => ({
    what: "a segment header",
    bytes: image.read(segment).slice(0, SegmentHeader.size),
    decode: healed(SegmentHeader.offsetOf("headerChecksum"), (bytes) =>
      readSegmentHeader(bytes, segment),
    ),
  }));
  for (const record of surgery.records) {
    const parts = new Map<string, Uint8Array>();
    for (const part of ["header", "metadata", "body"] as const) {
      surgery.changePart(record, part, (bytes) => parts.set(part, bytes.slice()));
    }
    const [header, metadata, body] = ["header", "metadata", "body"].map(
      (part) => parts.get(part) as Uint8Array,
    ) as [Uint8Array, Uint8Array, Uint8Array];
    all.push({ what: "a record header", bytes: header, decode: asRecord });
    all.push(...metadataSamples(record.header.kind, metadata, body));
  }
  return all;
}

function metadataSamples(kind: number, metadata: Uint8Array, body: Uint8Array): Sample[] {
  switch (kind) {
    case KIND.seal:
      return [{ what: "a seal", bytes: metadata, decode: (b) => SealSummary.decode(viewOf(b), 0) }];
    case KIND.epoch:
      return [
        { what: "an epoch", bytes: metadata, decode: (b) => EpochStart.decode(viewOf(b), 0) },
      ];
    case KIND.checkpoint:
      return [{ what: "a superblock", bytes: metadata, decode: decodeCheckpoint }];
    case KIND.nodes:
      return [
        { what: "a node", bytes: body, decode: asNode },
        { what: "a table", bytes: body, decode: (b) => decodeTable(viewOf(b), 0, b.length / 12) },
      ];
    case KIND.update:
      return [
        { what: "an update", bytes: metadata, decode: (b) => decodeUpdate(b, MOST_VALUE_BYTES) },
        ...decodeUpdate(metadata, MOST_VALUE_BYTES).changes.flatMap(itemSample),
      ];
    default:
      return [];
  }
}

const ITEM_DECODERS = new Map<number, (value: Uint8Array) => unknown>([
  [items.ITEM.attributes, items.decodeInode],
  [items.ITEM.entry, items.decodeEntry],
  [items.ITEM.xattr, items.decodeXattr],
  [items.ITEM.extent, items.decodeExtent],
  [items.ITEM.truncation, items.decodeTruncation],
]);

function itemSample({ high, value }: { high: number; value: Uint8Array | null }): Sample[] {
  if (value === null) return [];
  const isShared = items.sharedSegmentOf(high) !== undefined;
  const decode = isShared ? items.decodeOwners : ITEM_DECODERS.get(items.kindOf(high));
  const what = isShared ? "owners of a block" : `an item of kind ${items.kindOf(high)}`;
  return decode === undefined ? [] : [{ what, bytes: value.slice(), decode }];
}

function asNode(block: Uint8Array): unknown {
  const reference = { segment: 1, offset: 0, length: block.length, checksum: crc32c(block) };
  return decodeNode(block, reference, block[4] ?? 0);
}

it("a decoder gives a value or says what is wrong", () => {
  const refused = new Map<string, number>();
  for (let seed = 0; seed < SEEDS; seed++) {
    const prng = new Prng(seed);
    const { what, bytes, decode } = prng.pick(samples);
    const changed = prng.chance(0.1) ? bytes.slice(0, prng.below(bytes.length + 1)) : bytes.slice();
    for (let i = prng.pick([1, 1, 3]); i > 0; i--) mutate(changed, prng);
    try {
      decode(changed);
    } catch (error) {
      if (!(error instanceof SmfsError)) throw new Error(`seed ${seed}: ${what}`, { cause: error });
      refused.set(what, (refused.get(what) ?? 0) + 1);
    }
  }
  for (const what of ["a node", "an update", "a record header", "an epoch"]) {
    expect(refused.get(what) ?? 0, what).toBeGreaterThan(0);
  }
});

it("any FUSE request is answered once, or not at all", () => {
  for (let seed = 0; seed < SEEDS; seed++) {
    const prng = new Prng(seed);
    const body = Array.from({ length: prng.below(120) }, () => prng.pick([0, 0, 1, 47, 255]));
    const header = { opcode: prng.below(60), node: prng.below(4), unique: 9 };
    const bytes = request(header, u32(prng.u32()), u64(prng.below(2 ** 40)), body);
    if (prng.chance(0.3)) mutate(bytes.subarray(4), prng);
    const harness = new Harness();
    try {
      void harness.session.handle(bytes);
    } catch (error) {
      throw new Error(`seed ${seed}: opcode ${header.opcode}`, { cause: error });
    }
    expect(harness.answers.length, `seed ${seed}`).toBeLessThanOrEqual(1);
    expect(harness.session.statistics.failures, `seed ${seed}`).toBe(0);
  }
});

it("a store.json that was changed is read, or refused with a code", () => {
  const path = join(directory, "store");
  StoreRegistry.create(path, "primary");
  const file = join(path, "store.json");
  const good = readFileSync(file);
  let refused = 0;
  for (let seed = 0; seed < 300; seed++) {
    const prng = new Prng(seed);
    const changed = Uint8Array.from(good);
    mutate(changed, prng);
    writeFileSync(file, prng.chance(0.2) ? changed.subarray(0, prng.below(good.length)) : changed);
    try {
      const { role, log, storeId } = StoreRegistry.open(path);
      expect([role, log?.id, storeId.length]).toContain(16);
    } catch (error) {
      if (!(error instanceof SmfsError)) throw new Error(`seed ${seed}`, { cause: error });
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(200);
});
