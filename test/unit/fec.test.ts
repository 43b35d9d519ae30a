import { describe, expect, it } from "vitest";
import { DEFAULT_CODE, type LayeredParameters } from "../../gateway/core/code/code.ts";
import { symbolHeader } from "../../gateway/core/code/blocks.ts";
import { ErasureDecoder } from "../../gateway/core/code/decoder.ts";
import { ErasureEncoder } from "../../gateway/core/code/encoder.ts";
import { LayeredEncoder } from "../../gateway/core/code/layered-encoder.ts";
import { layeredRepair, type LayeredRepair, REPAIR } from "../../gateway/core/code/repair.ts";
import { equalBytes } from "../../lib/bytes.ts";
import { viewOf } from "../../lib/codec.ts";
import { SmfsError } from "../../lib/errors.ts";
import { Prng } from "../../lib/prng.ts";

type Item = { readonly id: number; readonly bytes: Uint8Array; readonly header?: LayeredRepair };

/** Contents and length follow from the id. */
function packetOf(id: number): Uint8Array {
  const prng = new Prng(id + 1);
  return prng.fill(new Uint8Array(1 + prng.below(100)));
}

function drain(encoder: LayeredEncoder, nowMicros: number): Item[] {
  const items: Item[] = [];
  const out = new Uint8Array(1500);
  for (let n = encoder.poll(out, nowMicros); n > 0; n = encoder.poll(out, nowMicros)) {
    items.push({ id: -1, bytes: out.slice(0, n), header: layeredRepair.decode(viewOf(out), 0) });
  }
  return items;
}

function push(encoder: LayeredEncoder, from: number, count: number): Item[] {
  return Array.from({ length: count }, (_, n) => {
    const id = (from + n) >>> 0;
    const bytes = packetOf(id);
    encoder.push(id, bytes, 0);
    return [{ id, bytes }, ...drain(encoder, 0)];
  }).flat();
}

/** What a sender puts on the wire that pushes `count` packets and then falls idle. */
function send(count: number, parameters: LayeredParameters = DEFAULT_CODE): Item[] {
  const encoder = new LayeredEncoder({ parameters });
  return [...push(encoder, 0, count), ...drain(encoder, 1e6)];
}

function receive(wire: readonly Item[], decoder = new ErasureDecoder()): Set<number> {
  const have = new Set<number>();
  for (const { id, bytes } of wire) {
    if (id < 0) decoder.handleRepair(bytes);
    else if (decoder.handleData(id, bytes)) have.add(id);
    for (let next = decoder.pollRebuilt(); next !== null; next = decoder.pollRebuilt()) {
      expect(equalBytes(next.packet, packetOf(next.id))).toBe(true);
      have.add(next.id);
    }
  }
  return have;
}

const isLayer = (item: Item, layer: number): boolean => item.header?.layer === layer;

describe("the encoder", () => {
  it("sends c repairs for r packets", () => {
    const flowing = push(new LayeredEncoder(), 0, 8000);
    const repairs = flowing.filter((item) => item.id < 0).length;
    expect(repairs / 3000).toBeCloseTo(1, 1);
  });

  it("spreads a layer's repairs evenly: never more than two for any r packets", () => {
    const flowing = push(new LayeredEncoder(), 0, 4000);
    const slots = flowing.map((item, at) => ({ item, at })).filter(({ item }) => isLayer(item, 2));
    const dataBefore = (end: number) => flowing.slice(0, end).filter((item) => item.id >= 0).length;
    const times = slots.slice(0, 200).map(({ at }) => dataBefore(at));
    const gaps = times.slice(2).map((time, n) => time - (times[n] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(8);
  });

  it("delays each layer's repair by its interleave", () => {
    let data = 0;
    for (const item of push(new LayeredEncoder(), 0, 2000)) {
      if (item.header === undefined) data++;
      else {
        const { first, count, stride } = item.header;
        expect(data - 1 - (first + (count - 1) * stride)).toBe(stride);
      }
    }
  });

  it("sends everything partial when it falls idle, dense layers first", () => {
    const encoder = new LayeredEncoder({ idleMicros: 2000 });
    push(encoder, 0, 5);
    expect(encoder.nextTimeoutMicros()).toBe(2000);
    expect(drain(encoder, 1999)).toEqual([]);
    const layers = drain(encoder, 2000).map((item) => item.header?.layer);
    // One group of five, and five copies in each of the sparse layers.
    expect(layers).toEqual([0, ...Array(5).fill(1), ...Array(5).fill(2)]);
    expect(encoder.nextTimeoutMicros()).toBe(Infinity);
    expect(encoder.coveredThrough(3)).toBe(4);
  });

  it("flushes a layer's oldest groups first", () => {
    const encoder = new LayeredEncoder();
    push(encoder, 0, 95);
    encoder.flushThrough(94, 0);
    drain(encoder, 0);
    // Bins 95 to 99, then 0 to 4.
    push(encoder, 95, 10);
    const flushed = drain(encoder, 1e6).filter((item) => isLayer(item, 2));
    const firsts = flushed.map((item) => item.header?.first);
    expect(firsts).toEqual(Array.from({ length: 10 }, (_, n) => 95 + n));
  });

  it("flushes for a waiter only when something that covers it has not left", () => {
    const encoder = new LayeredEncoder();
    push(encoder, 0, 5);
    encoder.flushThrough(2, 0);
    expect(drain(encoder, 0).length).toBe(11);
    push(encoder, 5, 3);
    encoder.flushThrough(4, 0);
    expect(drain(encoder, 0)).toEqual([]);
  });

  it("counts a flushed repair as covering but not as spread, until it is acknowledged", () => {
    const encoder = new LayeredEncoder();
    push(encoder, 0, 20);
    expect(encoder.spreadThrough(1)).toBe(15);
    encoder.flushThrough(19, 0);
    drain(encoder, 0);
    push(encoder, 20, 50);
    expect(encoder.coveredThrough(1)).toBeGreaterThan(60);
    expect(encoder.spreadThrough(1)).toBe(15);
    encoder.release(19);
    expect(encoder.spreadThrough(1)).toBe(encoder.coveredThrough(1));
  });

  it("says that nothing is covered before the first packet", () => {
    expect(new LayeredEncoder().coveredThrough(1)).toBe(0xffffffff);
  });

  it("goes on with other parameters after what was pending has left", () => {
    const encoder = new LayeredEncoder({
      parameters: { kind: "layered", r: 3, interleave: [1, 5] },
    });
    const before = push(encoder, 0, 37);
    encoder.setParameters({ kind: "layered", r: 6, interleave: [1, 8, 64] }, 0);
    const between = drain(encoder, 0);
    expect(encoder.coveredThrough(2)).toBe(36);
    const after = [...push(encoder, 37, 900), ...drain(encoder, 1e6)];
    // Older packets never had a third layer; they stop counting when they are acknowledged.
    expect(encoder.coveredThrough(3)).toBe(0xffffffff);
    encoder.release(36);
    expect(encoder.coveredThrough(3)).toBe(936);
    const wire = [...before, ...between, ...after];
    expect(receive(wire.filter((_, n) => n % 40 !== 3)).size).toBe(937);
  });

  it("holds its marks after a change of kind until what was before it is acknowledged", () => {
    const encoder = new ErasureEncoder();
    const out = new Uint8Array(1500);
    const run = (from: number, count: number): void => {
      for (let id = from; id < from + count; id++) {
        encoder.push(id, packetOf(id), 0);
        while (encoder.poll(out, 0) > 0);
      }
    };
    run(0, 2000);
    const before = encoder.coveredThrough(1);
    encoder.setParameters({ kind: "sliding-window", r: 8, c: 3, window: 64, density: 16 }, 0);
    while (encoder.poll(out, 0) > 0);
    run(2000, 500);
    expect(encoder.coveredThrough(1)).toBeLessThanOrEqual(before);
    encoder.release(1998);
    expect(encoder.coveredThrough(1)).toBeLessThanOrEqual(before);
    encoder.release(1999);
    expect(encoder.coveredThrough(1)).toBeGreaterThan(2490);
  });

  it.each<[string, LayeredParameters]>([
    ["r must be a whole number", { kind: "layered", r: 0, interleave: [1] }],
    [
      "0 (no repairs) to 8 layers",
      { kind: "layered", r: 8, interleave: [1, 2, 3, 4, 5, 6, 7, 8, 9] },
    ],
    ["ascending", { kind: "layered", r: 8, interleave: [10, 10] }],
    ["at most 8192", { kind: "layered", r: 100, interleave: [1, 100] }],
  ])("refuses parameters: %s", (message, parameters) => {
    expect(() => new LayeredEncoder({ parameters })).toThrow(SmfsError);
    expect(() => new LayeredEncoder({ parameters })).toThrow(message);
  });

  it("stops a caller that never polls instead of growing", () => {
    const encoder = new LayeredEncoder();
    expect(() => {
      for (let id = 0; id < 10_000; id++) encoder.push(id, packetOf(0), 0);
    }).toThrow("poll() was not drained");
  });
});

/** A repair of two neighbours that are equal and three bytes long. */
function pair(first: number): Uint8Array {
  const header = { kind: REPAIR.layered, layer: 0, layers: 1, r: 2, count: 2, stride: 1, first };
  // The lengths are equal, and so their XOR is 0.
  const bytes = new Uint8Array(layeredRepair.size + 5);
  layeredRepair.encode(viewOf(bytes), 0, header);
  return bytes;
}

describe("the decoder", () => {
  it("rebuilds every single loss in a full group from layer 0 alone", () => {
    const wire = send(64).filter((item) => item.id >= 0 || isLayer(item, 0));
    for (let lost = 0; lost < 64; lost++) {
      expect(receive(wire.filter((item) => item.id !== lost)).size).toBe(64);
    }
  });

  it("rebuilds a burst as long as the largest interleave wherever it starts", () => {
    const flowing = push(new LayeredEncoder(), 0, 3000);
    for (let start = 0; start < 1200; start += 7) {
      const have = receive(flowing.toSpliced(start, 100));
      expect(Math.min(have.size, 2900)).toBe(2900);
      for (let id = 0; id < 1500; id++) if (!have.has(id)) expect.fail(`${id} after ${start}`);
    }
  });

  it("cascades: a packet rebuilt in one layer completes groups of the others", () => {
    const wire = send(64, { kind: "layered", r: 8, interleave: [1, 8] });
    // Layer 0 misses two in rows 0 and 1; layer 1 misses two in column 0 and one in columns 1 and 2.
    const lost = new Set([0, 1, 8, 10]);
    expect(receive(wire.filter((item) => !lost.has(item.id))).size).toBe(64);
    const dense = wire.filter((item) => !lost.has(item.id) && !isLayer(item, 1));
    expect(receive(dense).size).toBe(60);
  });

  it("says false for what it has, whether it came or was rebuilt", () => {
    const decoder = new ErasureDecoder();
    const wire = send(8).filter((item) => item.id !== 3);
    receive(wire, decoder);
    expect(decoder.handleData(2, packetOf(2))).toBe(false);
    expect(decoder.handleData(3, packetOf(3))).toBe(false);
    expect(decoder.statistics).toMatchObject({ rebuilt: 1, duplicatePackets: 2 });
  });

  it("refuses data behind its window and follows data far ahead of it", () => {
    const decoder = new ErasureDecoder({ windowPackets: 1024 });
    expect(decoder.handleData(5000, packetOf(5000))).toBe(true);
    expect(decoder.handleData(5000 - 1024, packetOf(1))).toBe(false);
    expect(decoder.handleData(5000 - 1023, packetOf(2))).toBe(true);
    expect(decoder.handleData(2_000_000, packetOf(3))).toBe(true);
    expect(decoder.handleData(5000, packetOf(5000))).toBe(false);
    expect(decoder.statistics).toMatchObject({ latePackets: 2, resynchronisations: 1 });
  });

  it.each([
    ["follows a sender whose code spans more than its window", 16384, 9000],
    ["does not grow beyond its bound", 2048, 8700],
  ])("%s", (_, maxWindowPackets, expected) => {
    const decoder = new ErasureDecoder({ maxWindowPackets });
    const wire = send(9000, { kind: "layered", r: 8, interleave: [500] });
    const start = wire.findIndex((item) => item.id === 4500);
    expect(receive(wire.toSpliced(start, 337), decoder).size).toBe(expected);
    expect(decoder.window.size).toBeLessThanOrEqual(maxWindowPackets);
  });

  it("never mixes a group up with packets one window later", () => {
    const decoder = new ErasureDecoder({ windowPackets: 1024 });
    const wire = send(16, { kind: "layered", r: 8, interleave: [1] });
    const waits = wire.find((item) => item.id < 0) as Item;
    decoder.handleData(0, packetOf(0));
    decoder.handleRepair(waits.bytes);
    for (let id = 1024; id < 1031; id++) decoder.handleData(id, packetOf(id));
    expect(decoder.pollRebuilt()).toBeNull();
    expect(decoder.statistics).toMatchObject({ rebuilt: 0, inconsistentRepairs: 0 });
  });

  it("keeps one of a repair that came twice, and none that waits for ids long gone", () => {
    const decoder = new ErasureDecoder({ windowPackets: 256, waitingRepairs: 4 });
    decoder.handleRepair(pair(0));
    decoder.handleRepair(pair(0));
    expect(decoder.statistics.unused).toBe(1);
    decoder.handleData(300, Uint8Array.of(1, 2, 3));
    // 256 and 257 have the slots of 0 and 1.
    decoder.handleRepair(pair(256));
    decoder.handleData(256, Uint8Array.of(4, 5, 6));
    expect(decoder.pollRebuilt()).toEqual({ id: 257, packet: Uint8Array.of(4, 5, 6) });
  });

  it("gives the oldest waiting repair up when there is room for no more", () => {
    const decoder = new ErasureDecoder({ waitingRepairs: 2 });
    for (const first of [0, 10, 20]) decoder.handleRepair(pair(first));
    decoder.handleData(0, Uint8Array.of(1, 2, 3));
    expect(decoder.pollRebuilt()).toBeNull();
    decoder.handleData(21, Uint8Array.of(1, 2, 3));
    expect(decoder.pollRebuilt()).toEqual({ id: 20, packet: Uint8Array.of(1, 2, 3) });
    decoder.handleData(11, Uint8Array.of(4, 5, 6));
    expect(decoder.pollRebuilt()).toEqual({ id: 10, packet: Uint8Array.of(4, 5, 6) });
  });

  it("gives a repair up when a member that it had leaves the window", () => {
    const decoder = new ErasureDecoder({ windowPackets: 512, maxWindowPackets: 512 });
    const same = (id: number) => new Uint8Array(4).fill(id);
    decoder.handleData(0, same(1));
    const recipe = { layer: 0, layers: 1, r: 3, count: 3, stride: 100, first: 0 };
    const header = { kind: REPAIR.layered, ...recipe };
    const repair = new Uint8Array(layeredRepair.size + 6).fill(1 ^ 2 ^ 3);
    symbolHeader.encode(viewOf(repair), layeredRepair.size, { length: 4 });
    layeredRepair.encode(viewOf(repair), 0, header);
    decoder.handleRepair(repair);
    // 0 leaves, and 512 takes its slot. Then 100 comes, and only 200 is missing.
    decoder.handleData(512, same(7));
    decoder.handleData(100, same(2));
    expect(decoder.pollRebuilt()).toBeNull();
    expect(decoder.statistics).toMatchObject({ rebuilt: 0, unused: 1, inconsistentRepairs: 0 });
    expect(decoder.handleData(200, same(3))).toBe(true);
  });
});

describe("a repair that no encoder wrote", () => {
  const recipe = { layer: 0, layers: 3, r: 8, count: 2, stride: 1, first: 100 };
  const good = { kind: REPAIR.layered, ...recipe };
  const bytesOf = (header: LayeredRepair, payloadBytes = 4, lengthXor = 0) => {
    const bytes = new Uint8Array(layeredRepair.size + symbolHeader.size + payloadBytes);
    layeredRepair.encode(viewOf(bytes), 0, header);
    symbolHeader.encode(viewOf(bytes), layeredRepair.size, { length: lengthXor });
    return bytes;
  };
  const decoderAt100 = () => {
    const decoder = new ErasureDecoder({ windowPackets: 1024, maxWindowPackets: 1024 });
    decoder.handleData(100, packetOf(100));
    return decoder;
  };

  it.each<[string, Uint8Array]>([
    ["stride 0", bytesOf({ ...good, stride: 0 })],
    ["no members", bytesOf({ ...good, count: 0 })],
    ["more members than r", bytesOf({ ...good, count: 9 })],
    ["a layer past the last", bytesOf({ ...good, layer: 3 })],
    ["too many layers", bytesOf({ ...good, layers: 9 })],
    ["a span past the limit", bytesOf({ ...good, r: 255, stride: 1000 })],
    ["a span past the window", bytesOf({ ...good, r: 4, count: 2, stride: 1024 })],
    ["members far ahead", bytesOf({ ...good, first: 100_000 })],
    ["a payload longer than any packet", bytesOf(good, 1473)],
    ["half a header", bytesOf(good).subarray(0, 6)],
    ["nothing", new Uint8Array(0)],
  ])("is refused and counted: %s", (_, bytes) => {
    const decoder = decoderAt100();
    decoder.handleRepair(bytes);
    expect(decoder.statistics.malformed).toBe(1);
    expect(decoder.pollRebuilt()).toBeNull();
  });

  it("is refused as the first thing ever when it spans more than the window", () => {
    const decoder = new ErasureDecoder({ windowPackets: 1024, maxWindowPackets: 1024 });
    decoder.handleRepair(bytesOf({ ...good, r: 4, count: 2, stride: 1024 }));
    expect(decoder.statistics.malformed).toBe(1);
  });

  it("gives no packet when the length is impossible or bytes stand behind the end", () => {
    const decoder = new ErasureDecoder();
    decoder.handleData(100, Uint8Array.of(1, 2, 3, 4));
    // Length 4 ^ 250 is longer than the payload.
    decoder.handleRepair(bytesOf(good, 4, 250));
    // Length 4 ^ 6 = 2, but byte 2 of 0 ^ packet is 3.
    decoder.handleRepair(bytesOf(good, 4, 6));
    // A member that is longer than the longest; all else would fit.
    const short = bytesOf(good, 3, 6);
    short[layeredRepair.size + symbolHeader.size + 2] = 3;
    decoder.handleRepair(short);
    expect(decoder.statistics.inconsistentRepairs).toBe(3);
    expect(decoder.pollRebuilt()).toBeNull();
    expect(decoder.handleData(101, packetOf(101))).toBe(true);
  });

  it("too old for the window is not needed", () => {
    const decoder = new ErasureDecoder({ windowPackets: 1024 });
    decoder.handleData(5000, packetOf(5000));
    decoder.handleRepair(bytesOf(good));
    expect(decoder.statistics).toMatchObject({ unused: 1, malformed: 0 });
  });
});
