import { describe, expect, test } from "vitest";
import { Prng } from "../../lib/prng.ts";
import { EmulatedLink, MAX_PACKETS_IN_FLIGHT } from "../../netem/core/link.ts";
import { IDEAL_LINK, type LinkSettings } from "../../netem/core/settings.ts";

const PACKET_BYTES = 1400;

function link(settings: Partial<LinkSettings>, seed = 1): EmulatedLink<number> {
  return new EmulatedLink<number>({ ...IDEAL_LINK, ...settings }, new Prng(seed));
}

function drain(from: EmulatedLink<number>, nowMicros = Infinity): number[] {
  const out: number[] = [];
  for (let packet = from.poll(nowMicros); packet !== null; packet = from.poll(nowMicros)) {
    out.push(packet);
  }
  return out;
}

/** Lengths of the runs of lost packets among `count` sent. */
function lossRuns(from: EmulatedLink<number>, count: number): number[] {
  const runs: number[] = [];
  let run = 0;
  for (let i = 0; i < count; i++) {
    const isLost = from.send(i, PACKET_BYTES, i) === "lost";
    drain(from, i);
    if (isLost) run++;
    else if (run > 0) {
      runs.push(run);
      run = 0;
    }
  }
  return runs;
}

describe("delay", () => {
  test("a packet arrives after the delay, not before", () => {
    const wan = link({ delayMicros: 50_000 });
    expect(wan.send(7, PACKET_BYTES, 1_000)).toBe("queued");
    expect(wan.nextTimeoutMicros()).toBe(51_000);
    expect(wan.poll(50_999)).toBeNull();
    expect(wan.poll(51_000)).toBe(7);
    expect(wan.nextTimeoutMicros()).toBe(Infinity);
  });

  test("jitter spreads the delay over its range and keeps the order", () => {
    const wan = link({ delayMicros: 10_000, jitterMicros: 5_000 });
    const delays: number[] = [];
    for (let i = 0; i < 500; i++) {
      wan.send(i, PACKET_BYTES, i * 100_000);
      delays.push(wan.nextTimeoutMicros() - i * 100_000);
      expect(wan.poll(Infinity)).toBe(i);
    }
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(10_000);
    expect(Math.max(...delays)).toBeLessThanOrEqual(15_000);
    expect(Math.max(...delays) - Math.min(...delays)).toBeGreaterThan(4_500);

    for (let i = 0; i < 2_000; i++) wan.send(i, PACKET_BYTES, 1e9 + i);
    expect(drain(wan)).toEqual(Array.from({ length: 2_000 }, (_, i) => i));
    expect(wan.statistics.reordered).toBe(0);
  });

  test("a shorter delay does not let new packets overtake old ones", () => {
    const wan = link({ delayMicros: 50_000 });
    wan.send(1, PACKET_BYTES, 0);
    wan.configure({ delayMicros: 1_000 }, 10);
    wan.send(2, PACKET_BYTES, 10);
    expect(drain(wan)).toEqual([1, 2]);
  });
});

describe("loss", () => {
  test("independent losses are binomial: within five standard deviations of the share", () => {
    const count = 200_000;
    const share = 0.005;
    const wan = link({ loss: { kind: "independent", share } });
    lossRuns(wan, count);
    const deviation = Math.sqrt(count * share * (1 - share));
    expect(Math.abs(wan.statistics.lost - count * share)).toBeLessThan(5 * deviation);
  });

  test.each([2, 8, 32])("bursts of mean %d have that mean and the average share", (mean) => {
    const count = 1_000_000;
    const share = 0.02;
    const wan = link({ loss: { kind: "bursts", share, meanPackets: mean } });
    const runs = lossRuns(wan, count);
    const measured = runs.reduce((sum, run) => sum + run, 0) / runs.length;
    expect(measured / mean).toBeGreaterThan(0.93);
    expect(measured / mean).toBeLessThan(1.07);
    expect(wan.statistics.lost / count / share).toBeGreaterThan(0.9);
    expect(wan.statistics.lost / count / share).toBeLessThan(1.1);
  });

  test("a loss of 1 loses everything, a loss of 0 nothing", () => {
    const wan = link({ loss: { kind: "independent", share: 1 } });
    expect(lossRuns(wan, 100)).toEqual([]);
    expect(wan.statistics.lost).toBe(100);
    wan.configure({ loss: { kind: "bursts", share: 0, meanPackets: 1 } }, 100);
    lossRuns(wan, 100);
    expect(wan.statistics.lost).toBe(100);
  });

  test("a change of loss leaves packets under way alone", () => {
    const wan = link({ delayMicros: 1_000 });
    wan.send(1, PACKET_BYTES, 0);
    wan.configure({ loss: { kind: "independent", share: 1 } }, 1);
    expect(wan.send(2, PACKET_BYTES, 1)).toBe("lost");
    expect(drain(wan)).toEqual([1]);
  });
});

describe("rate", () => {
  test("a saturated link delivers its rate within a thousandth", () => {
    const rate = 100e6;
    const wan = link({ rateBitsPerSecond: rate, delayMicros: 20_000 });
    let lastMicros = 0;
    for (let now = 0; now < 2e6; now += 50) {
      wan.send(now, PACKET_BYTES, now);
      while (wan.nextTimeoutMicros() <= now) {
        lastMicros = wan.nextTimeoutMicros();
        wan.poll(now);
      }
    }
    const bitsPerSecond = (wan.statistics.bytes * 8e6) / (lastMicros - 20_000);
    expect(Math.abs(bitsPerSecond / rate - 1)).toBeLessThan(0.001);
    expect(wan.statistics.overflowed).toBeGreaterThan(0);
  });

  test("the queue takes what fits, drops the rest at the tail, and counts it", () => {
    const wan = link({ rateBitsPerSecond: 8e6, queueBytes: 10_000 });
    const results = Array.from({ length: 15 }, (_, i) => wan.send(i, 1_000, 0));
    expect(results.filter((result) => result === "queued")).toHaveLength(10);
    expect(results.lastIndexOf("queued")).toBe(9);
    expect(wan.statistics.overflowed).toBe(5);
    expect(wan.send(99, 1_000, 1_000)).toBe("queued");
    expect(wan.nextTimeoutMicros()).toBe(1_000);
  });

  test("an empty queue takes a packet bigger than the queue", () => {
    expect(link({ rateBitsPerSecond: 1e6, queueBytes: 0 }).send(1, 1_400, 0)).toBe("queued");
  });

  test("the default queue is 50 ms deep, before and after a change of rate", () => {
    const wan = link({ rateBitsPerSecond: 80e6 });
    const fill = (now: number): number => {
      let count = 0;
      while (wan.send(count, 1_000, now) === "queued") count++;
      return count;
    };
    expect(fill(0)).toBe(500);
    wan.configure({ rateBitsPerSecond: 160e6 }, 1e6);
    expect(fill(1e6)).toBe(1_000);
  });

  test("lost packets take their time at the bottleneck", () => {
    const wan = link({ rateBitsPerSecond: 8e6, loss: { kind: "independent", share: 1 } });
    wan.send(1, 1_000, 0);
    wan.configure({ loss: { kind: "independent", share: 0 } }, 0);
    wan.send(2, 1_000, 0);
    expect(wan.nextTimeoutMicros()).toBe(2_000);
  });

  test("what is under way has a bound even without a rate", () => {
    const wan = link({ delayMicros: 1e6 });
    for (let i = 0; i < MAX_PACKETS_IN_FLIGHT + 5; i++) wan.send(i, 1, 0);
    expect(wan.packetsInFlight).toBeLessThanOrEqual(MAX_PACKETS_IN_FLIGHT);
    expect(wan.statistics.overflowed).toBeGreaterThanOrEqual(5);
    expect(drain(wan)).toHaveLength(wan.statistics.sent - wan.statistics.overflowed);
  });
});

describe("reordering and duplication", () => {
  test("held-back packets are overtaken, and every one that was is counted", () => {
    const wan = link({ delayMicros: 1_000, reorderShare: 0.1, reorderDelayMicros: 500 });
    for (let i = 0; i < 10_000; i++) wan.send(i, PACKET_BYTES, i * 10);
    const order = drain(wan);
    let greatest = -1;
    const overtaken = order.filter((packet) => {
      const isLate = packet < greatest;
      greatest = Math.max(greatest, packet);
      return isLate;
    });
    expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 10_000 }, (_, i) => i));
    expect(overtaken.length).toBeGreaterThan(900);
    expect(overtaken.length).toBeLessThan(1_100);
    expect(wan.statistics.reordered).toBe(overtaken.length);
  });

  test("a duplicate is a copy made by the caller's function", () => {
    const settings = { ...IDEAL_LINK, duplicateShare: 1 };
    const wan = new EmulatedLink<string>(settings, new Prng(1), (packet) => `${packet}'`);
    wan.send("a", 1, 0);
    expect([wan.poll(0), wan.poll(0), wan.poll(0)]).toEqual(["a", "a'", null]);
    expect(wan.statistics).toMatchObject({ sent: 1, delivered: 2, duplicated: 1 });
  });
});

describe("cut", () => {
  test("nothing enters after the cut, what is on the wire arrives, and restoring opens it", () => {
    const wan = link({ delayMicros: 50_000, rateBitsPerSecond: 8e6 });
    for (let i = 0; i < 10; i++) wan.send(i, 1_000, 0);
    wan.cut();
    expect(wan.send(10, 1_000, 1)).toBe("cut");
    expect(wan.packetsInFlight).toBe(10);
    expect(drain(wan)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    wan.restore();
    expect(wan.send(11, 1_000, 2)).toBe("queued");
    expect(wan.statistics.cut).toBe(1);
  });
});

describe("path MTU", () => {
  test("drops what is longer, and counts it", () => {
    const wan = link({ mtuBytes: 1300 });
    expect(wan.send(0, 1301, 0)).toBe("tooLong");
    expect(wan.send(1, 1300, 0)).toBe("queued");
    wan.configure({ mtuBytes: Infinity }, 0);
    expect(wan.send(2, 1301, 0)).toBe("queued");
    expect(drain(wan)).toEqual([1, 2]);
    expect(wan.statistics).toMatchObject({ sent: 3, delivered: 2, tooLong: 1 });
  });
});

describe("settings", () => {
  test.each([
    [{ delayMicros: -1 }, /delay/],
    [{ delayMicros: 0.5 }, /whole number of microseconds/],
    [{ rateBitsPerSecond: 0 }, /to stop a link, cut it/],
    [{ duplicateShare: 1.1 }, /duplicate.*between 0 and 1/],
    [{ mtuBytes: 0 }, /path MTU must be above 0/],
    [{ loss: { kind: "bursts", share: 0.1, meanPackets: 0 } }, /burst must be 1/],
    [{ loss: { kind: "bursts", share: 0.9, meanPackets: 2 } }, /at most 0.66/],
  ] as const)("%o is refused", (changes, message) => {
    expect(() => link(changes)).toThrow(message);
    expect(() => link({}).configure(changes, 0)).toThrow(message);
  });

  test("a refused change changes nothing", () => {
    const wan = link({ delayMicros: 5 });
    expect(() => wan.configure({ delayMicros: 9, reorderShare: 2 }, 0)).toThrow(/reorder/);
    expect(wan.settings.delayMicros).toBe(5);
  });
});
