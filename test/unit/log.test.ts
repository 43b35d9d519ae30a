import { describe, expect, test } from "vitest";
import type { RawRecord } from "../../logfs/core/log/api.ts";
import { Log } from "../../logfs/core/log/log.ts";
import type { LogOptions } from "../../logfs/core/log/options.ts";
import { SimulatedDisk } from "../sim/disk.ts";
import { VirtualClock } from "../sim/clock.ts";
import { Prng } from "../../lib/prng.ts";

const LOG_ID = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const SMALL: LogOptions = { segmentBytes: 16384, allocationBytes: 4096, maxRecordBytes: 8192 };

function world(options: LogOptions = SMALL) {
  const clock = new VirtualClock();
  const disk = new SimulatedDisk(clock.schedule);
  const log = Log.create(disk, { logId: LOG_ID, ...options }, clock);
  return { clock, disk, log };
}

const body = (length: number, seed = length) => new Prng(seed).fill(new Uint8Array(length));

function append(log: Log, length: number) {
  return log.append(16, 8, [body(length)], (m) => m.fill(7));
}

describe("appending", () => {
  test("RecordsComeBackAfterAKill", () => {
    const { clock, disk, log } = world();
    log.startEpoch(1, 1);
    for (let i = 0; i < 50; i++) append(log, 1000);
    let durable = false;
    log.whenDurable(log.head.sequence, (e) => {
      expect(e).toBeNull();
      durable = true;
    });
    clock.drain();
    expect(durable).toBe(true);
    disk.killProcess(new Prng(1));
    const again = Log.recover(disk, SMALL, clock);
    if (!again.ok) throw again.failure;
    expect(again.log.head).toEqual(log.head);
    const all: RawRecord[] = [];
    const next = () => {
      again.log.readRecords((all.at(-1)?.sequence ?? 0) + 1, 4000, (e, rs) => {
        expect(e).toBeNull();
        all.push(...rs);
        if (rs.length > 0) next();
      });
    };
    next();
    clock.drain();
    expect(all.map((r) => r.sequence)).toEqual(
      Array.from({ length: log.head.sequence }, (_, i) => i + 1),
    );
    const mirrorDisk = new SimulatedDisk(clock.schedule);
    const mirror = Log.create(mirrorDisk, { logId: LOG_ID, ...SMALL }, clock);
    for (const r of all) mirror.appendRaw(r.bytes);
    clock.drain();
    expect(mirror.head).toEqual(log.head);
    for (const { segment } of disk.list()) {
      const a = disk.readSync(segment, 0, 16384);
      const b = mirrorDisk.readSync(segment, 0, 16384);
      const n = Math.min(a.length, b.length);
      expect(a.subarray(0, n)).toEqual(b.subarray(0, n));
    }
  });
});
