/**
 * Segments of format version 1, byte for byte. `log-v1-<segment>.hex` was made once by this test's
 * own `history()` with UPDATE=1 and holds each segment up to its last byte that is not zero, 32
 * bytes a line. It is never made again: a change that breaks it is a new format version, and this
 * version must stay readable.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { fromHex, latin1, toHex } from "../../lib/bytes.ts";
import { KIND } from "../../logfs/core/log/format.ts";
import { Log } from "../../logfs/core/log/log.ts";
import { readRecord } from "../../logfs/core/log/record.ts";
import { VirtualClock } from "../sim/clock.ts";
import { SimulatedDisk } from "../sim/disk.ts";
import { bodyOf, LOG_ID, LogWorld } from "../sim/log-world.ts";

const SEGMENT_BYTES = 4096;
const OPTIONS = {
  segmentBytes: SEGMENT_BYTES,
  maxRecordBytes: 1024,
  allocationBytes: SEGMENT_BYTES,
  writerId: Uint8Array.from({ length: 16 }, (_, i) => 0xf0 + i),
};

/** One record a second by the wall clock, whatever the disk takes. */
class GoldenClock extends VirtualClock {
  private records = 0;

  override wallMicros(): number {
    return 1_600_000_000_000_000 + 1_000_000 * this.records++;
  }
}

/** One record of each kind, a seal, and a second segment. */
function history(): SimulatedDisk {
  const clock = new GoldenClock();
  const disk = new SimulatedDisk(clock.schedule);
  const log = Log.create(disk, { ...OPTIONS, logId: LOG_ID }, clock);
  log.startEpoch(2 ** 32 + 1, 1);
  log.append(KIND.update, 5, [latin1("hello, "), latin1("world")], (metadata) => {
    metadata.set([1, 2, 3, 4, 5]);
  });
  log.append(KIND.nodes, 0, [bodyOf(700)], () => {});
  log.whenDurable(3, () => {});
  clock.drain();
  log.append(KIND.checkpoint, 16, [], (metadata) => metadata.fill(0xcc));
  log.append(KIND.heartbeat, 0, [], () => {});
  for (let i = 0; i < 4; i++) log.append(KIND.update, 8, [bodyOf(600 + i)], (m) => m.fill(i));
  clock.drain();
  return disk;
}

const nameOf = (segment: number) => new URL(`log-v1-${segment}.hex`, import.meta.url);

function toLines(bytes: Uint8Array): string {
  const used = bytes.findLastIndex((byte) => byte !== 0) + 1;
  const hex = toHex(bytes.subarray(0, used));
  return `${(hex.match(/.{1,64}/g) ?? []).join("\n")}\n`;
}

function golden(segment: number): Uint8Array {
  const whole = new Uint8Array(SEGMENT_BYTES);
  whole.set(fromHex(readFileSync(nameOf(segment), "utf8").replaceAll("\n", "")));
  return whole;
}

describe("log format version 1", () => {
  test("is written byte for byte as it was", () => {
    const disk = history();
    const segments = disk.list();
    expect(segments.length).toBe(2);
    for (const { segment } of segments) {
      const text = toLines(disk.readSync(segment, 0, SEGMENT_BYTES));
      const missing = !existsSync(nameOf(segment));
      if (missing && process.env["UPDATE"] === "1") writeFileSync(nameOf(segment), text);
      expect(text).toBe(readFileSync(nameOf(segment), "utf8"));
    }
  });

  test("is read as it was", () => {
    const world = new LogWorld(OPTIONS);
    const disk = new SimulatedDisk(world.clock.schedule);
    for (const segment of [1, 2]) {
      disk.allocate(segment, SEGMENT_BYTES);
      disk.overwrite(segment, 0, golden(segment));
    }
    const recovered = Log.recover(disk, OPTIONS, world.clock);
    if (!recovered.ok) throw recovered.failure;
    const kinds = world.records(recovered.log).map(({ bytes }) => readRecord(bytes).kind);
    const { update, nodes, checkpoint, heartbeat, epoch, seal } = KIND;
    const first = [epoch, update, nodes, checkpoint, heartbeat, update, update, update, seal];
    expect(kinds).toEqual([...first, update]);
    expect(recovered.log.epoch).toBe(2 ** 32 + 1);
    expect(recovered.log.checkpoint).toEqual({ segment: 1, offset: 1112 });
    expect(recovered.log.id).toEqual(LOG_ID);
  });
});
