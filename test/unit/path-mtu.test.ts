/** The search for the path's MTU alone, against a path that is a number. */
import { describe, expect, it } from "vitest";
import { BASE_BYTES, PathMtu } from "../../gateway/core/transport/path-mtu.ts";

const ROUND_TRIP = 20_000;
const TIMEOUT = 50_000;
const SECOND = 1_000_000;
const LEAST = 576;

class Path {
  nowMicros = 1_000;
  readonly mtu: PathMtu;
  readonly probes: { bytes: number; atMicros: number }[] = [];
  limitBytes: number;
  isDown = false;
  /** Which of the probes, counted from 0, are lost by chance. */
  isLost: (probe: number) => boolean = () => false;

  constructor(limitBytes: number, mostBytes = 1400) {
    this.limitBytes = limitBytes;
    this.mtu = new PathMtu({ leastBytes: LEAST, mostBytes, confirmMicros: SECOND }, this.nowMicros);
  }

  run(micros: number): void {
    const endMicros = this.nowMicros + micros;
    let answer = { bytes: 0, sentMicros: 0, atMicros: Infinity };
    while (this.nowMicros < endMicros) {
      if (answer.atMicros <= this.nowMicros) {
        this.mtu.noteAnswer(answer.bytes, answer.sentMicros, this.nowMicros);
        answer = { ...answer, atMicros: Infinity };
      }
      const bytes = this.mtu.poll(this.nowMicros, TIMEOUT);
      if (bytes > 0) {
        const isLost = this.isLost(this.probes.length);
        this.probes.push({ bytes, atMicros: this.nowMicros });
        if (!this.isDown && this.mtu.needsCompanion) this.mtu.noteAlive(this.nowMicros);
        if (bytes <= this.limitBytes && !this.isDown && !isLost) {
          answer = { bytes, sentMicros: this.nowMicros, atMicros: this.nowMicros + ROUND_TRIP };
        }
      }
      const next = Math.min(answer.atMicros, this.mtu.nextTimeoutMicros(TIMEOUT), endMicros);
      this.nowMicros = Math.max(this.nowMicros + 1, next);
    }
  }
}

describe("the search", () => {
  it("begins at the base, and needs one round trip where the bound passes", () => {
    const path = new Path(9000);
    expect(path.mtu).toMatchObject({ bytes: BASE_BYTES, state: "base" });
    path.run(ROUND_TRIP + 10);
    expect(path.mtu).toMatchObject({ bytes: 1400, state: "complete" });
  });

  it.each([1200, 1207, 1208, 1280, 1333, 1399])("finds %i, and rests", (limitBytes) => {
    const path = new Path(limitBytes);
    path.run(5 * SECOND);
    expect(path.mtu.state).toBe("complete");
    expect(path.mtu.bytes).toBeGreaterThan(limitBytes - 8);
    expect(path.mtu.bytes).toBeLessThanOrEqual(limitBytes);
    const { length } = path.probes;
    path.run(60 * SECOND);
    // From then on the size in use is confirmed, once a second.
    expect(path.probes.length - length).toBeLessThanOrEqual(60);
    expect(path.probes.slice(length).every(({ bytes }) => bytes === path.mtu.bytes)).toBe(true);
  });

  it("falls below the base where not even that passes", () => {
    const path = new Path(1000);
    path.run(5 * SECOND);
    expect(path.mtu.state).toBe("error");
    expect(path.mtu.bytes).toBeGreaterThan(992);
    expect(path.mtu.bytes).toBeLessThanOrEqual(1000);
  });

  it("asks for no more than the operator allows", () => {
    const path = new Path(9000, 700);
    path.run(1300 * SECOND);
    expect(path.mtu).toMatchObject({ bytes: 700, state: "complete" });
    expect(Math.max(...path.probes.map(({ bytes }) => bytes))).toBe(700);
  });

  it("tries again after ten minutes", () => {
    const path = new Path(1300);
    path.run(10 * SECOND);
    path.limitBytes = 9000;
    path.run(580 * SECOND);
    expect(path.mtu.bytes).toBeLessThanOrEqual(1300);
    path.run(20 * SECOND);
    expect(path.mtu.bytes).toBe(1400);
  });

  it("forgives two lost probes in a row", () => {
    const path = new Path(9000);
    path.isLost = (probe) => probe < 2;
    path.run(3 * TIMEOUT);
    expect(path.mtu.bytes).toBe(1400);
  });
});

describe("the size in use", () => {
  it("falls when the path became narrower, within two seconds, and is found again", () => {
    const path = new Path(9000);
    path.run(10 * SECOND);
    path.limitBytes = 1250;
    path.run(2 * SECOND);
    expect(path.mtu.blackHoles).toBe(1);
    expect(path.mtu.bytes).toBeGreaterThanOrEqual(BASE_BYTES);
    expect(path.mtu.bytes).toBeLessThanOrEqual(1250);
    path.run(2 * SECOND);
    expect(path.mtu.bytes).toBeGreaterThan(1242);
    expect(path.mtu.state).toBe("complete");
  });

  it("is confirmed at once on suspicion", () => {
    const path = new Path(9000);
    path.run(0.5 * SECOND);
    path.limitBytes = 1250;
    path.mtu.suspect(path.nowMicros);
    path.run(3 * TIMEOUT + 10);
    expect(path.mtu.isDoubtful).toBe(true);
    path.run(4 * TIMEOUT + 10);
    expect(path.mtu.bytes).toBe(BASE_BYTES);
  });

  it("stays through ten minutes of outage, at a probe or two a second", () => {
    const path = new Path(9000);
    path.run(10 * SECOND);
    path.isDown = true;
    const { length } = path.probes;
    path.run(600 * SECOND);
    expect(path.probes.length - length).toBeLessThan(1200);
    expect(path.mtu).toMatchObject({ bytes: 1400, blackHoles: 0 });
    path.isDown = false;
    path.run(3 * SECOND);
    expect(path.mtu).toMatchObject({ bytes: 1400, blackHoles: 0, isDoubtful: false });
  });

  it("survives chance: one false alarm costs a few round trips", () => {
    const path = new Path(9000);
    path.run(0.9 * SECOND);
    const { length } = path.probes;
    path.isLost = (probe) => probe >= length && probe < length + 7;
    path.run(SECOND);
    expect(path.mtu).toMatchObject({ bytes: 1400, blackHoles: 1, state: "complete" });
  });

  it("falls at once when the system refuses it, and a refused probe is not repeated", () => {
    const path = new Path(9000);
    path.run(SECOND);
    path.mtu.noteTooLong(1401, path.nowMicros);
    expect(path.mtu.bytes, "another peer's probe").toBe(1400);
    path.mtu.noteTooLong(1400, path.nowMicros);
    expect(path.mtu.bytes).toBe(BASE_BYTES);
    path.limitBytes = 1350;
    path.run(2 * SECOND);
    expect(path.mtu.bytes).toBeGreaterThan(1342);
    expect(path.mtu.bytes).toBeLessThanOrEqual(1350);
  });
});
