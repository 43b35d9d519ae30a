/**
 * Decoders meet bytes that somebody else made: whatever they are, the answer is a value or an
 * `SmfsError`, soon, without memory that the input does not justify. Checksums are made right after
 * the damage, so that the checks behind them are what is tested.
 */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { crc32c } from "../../lib/crc32c.ts";
import { SmfsError } from "../../lib/errors.ts";
import { Node, Slot } from "../../logfs/core/fs/node.ts";
import { decodeNode, encodeNode } from "../../logfs/core/fs/node-codec.ts";
import { LiveBytes } from "../../logfs/core/fs/live-bytes.ts";
import {
  type Checkpoint,
  checkpointBytes,
  decodeCheckpoint,
  encodeCheckpoint,
} from "../../logfs/core/fs/superblock.ts";
import { decodeUpdate, encodeUpdate, updateBytes } from "../../logfs/core/fs/update.ts";

function leaf(): Uint8Array {
  const node = new Node(0);
  for (let i = 0; i < 20; i++) {
    node.highs.push(17 + (i >> 2));
    node.lows.push(i * 1000);
    node.values.insert(i, new Uint8Array(i));
    node.bytes += 18 + i;
  }
  return encodeNode(node, () => expect.unreachable()).block;
}

function inner(): Uint8Array {
  const node = new Node(2);
  for (let i = 0; i < 12; i++) {
    node.highs.push(i);
    node.lows.push(0);
    node.children.push(
      new Slot(1, { segment: 1, offset: i * 4096, length: 4096, checksum: i }, null),
    );
    node.bytes += 32;
  }
  return encodeNode(node, (slot) => slot.reference ?? expect.unreachable()).block;
}

function update(): Uint8Array {
  const changes = Array.from({ length: 12 }, (_, i) => ({
    high: 17,
    low: i,
    value: i % 3 === 0 ? null : new Uint8Array(i * 3),
  }));
  const frees = [{ segment: 1, offset: 4096, length: 100 }];
  const whole = { changes, frees, inodes: 1, dataBytes: -7, nextInode: 99 };
  const bytes = new Uint8Array(updateBytes(whole));
  encodeUpdate(bytes, whole);
  return bytes;
}

function superblock(): Uint8Array {
  const live = new LiveBytes([
    { segment: 1, bytes: 100, writtenSeconds: 5 },
    { segment: 2, bytes: 200, writtenSeconds: 6 },
    { segment: 5, bytes: 7, writtenSeconds: 7 },
  ]);
  const place = { segment: 1, offset: 4096, length: 120, checksum: 1 };
  const counters = { nextInode: 3, inodes: 1, dataBytes: 0 };
  const snapshots = ["a", "second"].map((name, i) => ({
    ...counters,
    slot: i + 1,
    name,
    createdMicros: i,
    sequence: i,
    height: 1,
    root: place,
    referencedBytes: 7,
    table: place,
  }));
  const checkpoint: Checkpoint = {
    ...counters,
    height: 2,
    nodeBytes: 16384,
    volumeId: new Uint8Array(16),
    createdMicros: 5,
    root: place,
    live,
    quota: { bytes: 1, inodes: 2 },
    snapshots,
    lastSlot: 2,
    rollbacks: 1,
    previous: null,
  };
  const bytes = new Uint8Array(checkpointBytes(checkpoint));
  encodeCheckpoint(bytes, checkpoint);
  return bytes;
}

type Decoder = (bytes: Uint8Array) => { count: number };

const asNode =
  (level: number): Decoder =>
  (bytes) => {
    const reference = { segment: 1, offset: 0, length: bytes.length, checksum: crc32c(bytes) };
    return { count: decodeNode(bytes, reference, level).highs.length };
  };

const FORMATS: readonly [string, Uint8Array, Decoder][] = [
  ["a leaf", leaf(), asNode(0)],
  ["an inner node", inner(), asNode(2)],
  ["an update", update(), (bytes) => ({ count: decodeUpdate(bytes, 4200).changes.length })],
  ["a superblock", superblock(), (bytes) => ({ count: decodeCheckpoint(bytes).live.count })],
];

interface Damage {
  readonly edits: readonly (readonly [at: number, byte: number])[];
  readonly length: number;
}

const damage = (length: number): fc.Arbitrary<Damage> =>
  fc.record({
    edits: fc.array(
      fc.tuple(fc.nat({ max: length - 1 }), fc.oneof(fc.nat({ max: 255 }), fc.constant(255))),
      { maxLength: 6 },
    ),
    length: fc.oneof(
      { weight: 4, arbitrary: fc.constant(length) },
      { weight: 1, arbitrary: fc.nat({ max: length + 40 }) },
    ),
  });

test.each(FORMATS)("%s that was damaged is read, or refused with a code", (_, good, decode) => {
  expect(decode(good).count).toBeGreaterThan(0);
  let refused = 0;
  fc.assert(
    fc.property(damage(good.length), ({ edits, length }) => {
      const bytes = new Uint8Array(length);
      bytes.set(good.subarray(0, length));
      for (const [at, byte] of edits) if (at < length) bytes[at] = byte;
      try {
        // An item takes at least eight bytes: the count is bounded by what was given.
        expect(decode(bytes).count).toBeLessThanOrEqual(length / 8);
      } catch (error) {
        if (!(error instanceof SmfsError)) throw error;
        refused++;
      }
    }),
    { numRuns: 1500 },
  );
  expect(refused).toBeGreaterThan(100);
});

test.each(FORMATS)("%s of random bytes is refused", (_, _good, decode) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      expect(() => decode(bytes)).toThrow(SmfsError);
    }),
    { numRuns: 300 },
  );
});
