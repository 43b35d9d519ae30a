import { describe, expect, test } from "vitest";
import { Gate } from "../../logfs/core/fs/cleaner/gate.ts";

/** A gate over numbers that the test sets. */
class Scene {
  room = 100;
  appended = 0;
  worthARound = false;
  shortages = 0;
  now = 0;
  readonly passed: number[] = [];
  readonly refused: number[] = [];
  readonly gate = new Gate({
    clock: { nowMicros: () => this.now },
    roomBytes: () => this.room,
    appendedBytes: () => this.appended,
    operationBytes: 10,
    isWorthARound: () => this.worthARound,
    onShortage: () => this.shortages++,
  });

  /** An operation comes. */
  come(number: number): void {
    const turn = this.gate.pass();
    if (turn === undefined) this.passed.push(number);
    else
      turn.then(
        () => this.passed.push(number),
        () => this.refused.push(number),
      );
  }

  async settle(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe("the cleaner's gate", () => {
  test("is open while there is room, and asks again before that can have been used up", () => {
    const scene = new Scene();
    scene.come(1);
    scene.room = 0;
    scene.appended = 39;
    scene.come(2);
    expect(scene.passed).toEqual([1, 2]);
    scene.appended = 40;
    scene.come(3);
    expect(scene.passed).toEqual([1, 2]);
    expect(scene.shortages).toBeGreaterThan(0);
  });

  test("asks again at once when somebody says that there is less room", () => {
    const scene = new Scene();
    scene.come(1);
    scene.room = 0;
    scene.gate.narrow();
    scene.come(2);
    expect(scene.passed).toEqual([1]);
  });

  test("lets through in the order of coming, as many as there is room for", async () => {
    const scene = new Scene();
    scene.room = 0;
    for (const number of [1, 2, 3, 4]) scene.come(number);
    scene.room = 20;
    scene.now = 500;
    scene.gate.pump();
    await scene.settle();
    expect(scene.passed).toEqual([1, 2]);
    expect(scene.gate.statistics).toMatchObject({ waits: 4, waitedMicros: 1000 });
    scene.come(5);
    scene.gate.pump();
    scene.gate.pump();
    await scene.settle();
    expect(scene.passed).toEqual([1, 2, 3, 4, 5]);
  });

  test("refuses all who wait, and who come, until a round may gain something", async () => {
    const scene = new Scene();
    scene.room = 0;
    scene.come(1);
    scene.come(2);
    scene.gate.close("the store is full");
    await scene.settle();
    expect(scene.refused).toEqual([1, 2]);
    expect(() => scene.come(3)).toThrow(expect.objectContaining({ code: "NO_SPACE" }));
    expect(scene.gate.statistics.refusals).toBe(3);
    scene.worthARound = true;
    scene.come(4);
    expect(scene.gate.waiting).toBe(1);
  });

  test("opens by itself when there is room again", () => {
    const scene = new Scene();
    scene.room = 0;
    scene.gate.close("the store is full");
    scene.room = 100;
    scene.come(1);
    expect(scene.passed).toEqual([1]);
  });

  test("holds everybody back while moved data is written, whatever comes of it", async () => {
    const scene = new Scene();
    const held = scene.gate.hold(async () => {
      scene.come(1);
      await scene.settle();
      expect(scene.passed).toEqual([]);
      throw new Error("the disk failed");
    });
    await expect(held).rejects.toThrow("the disk failed");
    await scene.settle();
    expect(scene.passed).toEqual([1]);
  });
});
