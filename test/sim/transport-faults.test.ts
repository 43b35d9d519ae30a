/** What long outages and strong reordering leave behind: nothing. */
import { describe, expect, it } from "vitest";
import type { MessageHandler } from "../../gateway/core/transport/messages.ts";
import { World } from "./transport-world.ts";

const MILLISECOND = 1000;
const SECOND = 1_000_000;
const MEGABYTE = 2 ** 20;

const NOBODY: MessageHandler = {
  onMessage() {},
  onMessageSent() {},
  onMessageLost() {},
  onCovered() {},
};

describe("10 minutes of blackout", () => {
  it.each(["one direction", "both directions"])("%s: the link is back within 6 s", (what) => {
    const world = new World({ seed: 1 });
    world.a.write(MEGABYTE);
    expect(world.run(10 * SECOND, () => world.b.receivedOffset === MEGABYTE)).toBe(true);
    world.aToB.cut();
    if (what === "both directions") world.bToA.cut();
    world.run(world.nowMicros + 600 * SECOND);
    expect(world.a.link.up || world.b.link.up).toBe(false);
    world.aToB.restore();
    world.bToA.restore();
    const isUp = () => world.a.ups === 2 && world.b.ups === 2;
    expect(world.run(world.nowMicros + 6 * SECOND, isUp), world.describe()).toBe(true);
    world.a.write(MEGABYTE);
    const isDone = () => world.b.receivedOffset === MEGABYTE;
    expect(world.run(world.nowMicros + 10 * SECOND, isDone), world.describe()).toBe(true);
    expect(world.b.wrongBytes).toBe(0);
  });
});

describe("packets that 1,000 others overtake", () => {
  /** 100 µs between packets: 1,000 of them pass in the time that some are held back. */
  const path = { reorderShare: 0.02, reorderDelayMicros: 100 * MILLISECOND };

  it("all messages arrive, each once", () => {
    const times = new Map<number, number>();
    const inbox: MessageHandler = {
      ...NOBODY,
      onMessage(bytes) {
        const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
        times.set(number, (times.get(number) ?? 0) + 1);
      },
    };
    const world = new World({ seed: 2, messages: [NOBODY, inbox] });
    expect(world.run(5 * SECOND, () => world.a.ups === 1 && world.b.ups === 1)).toBe(true);
    world.aToB.configure(path, world.nowMicros);
    const message = new Uint8Array(1000);
    for (let i = 0; i < 5000; i++) {
      new DataView(message.buffer).setUint32(0, i);
      expect(world.a.link.sendMessage(message, "protected")).toBe(true);
      world.run(world.nowMicros + 100);
    }
    world.run(world.nowMicros + SECOND);
    expect(world.aToB.statistics.reordered).toBeGreaterThan(80);
    expect(times.size, world.describe()).toBe(5000);
    expect([...times.values()].every((count) => count === 1)).toBe(true);
  });

  it("the stream arrives whole", () => {
    const world = new World({ seed: 3, path });
    world.a.write(8 * MEGABYTE);
    const isDone = () => world.b.receivedOffset === 8 * MEGABYTE;
    expect(world.run(60 * SECOND, isDone), world.describe()).toBe(true);
    expect(world.b.wrongBytes).toBe(0);
    expect(world.a.ups).toBe(1);
  });
});
