/** Messages in virtual time: what arrives, what is rebuilt, what is told of the rest. */
import { describe, expect, it } from "vitest";
import type { MessageHandler, MessageInfo } from "../../gateway/core/transport/messages.ts";
import type { LinkChanges } from "../../netem/core/settings.ts";
import { World } from "./transport-world.ts";

const MILLISECOND = 1000;
const SECOND = 1_000_000;

/** What one side's user heard. The first 4 bytes of each message are its number. */
class Inbox implements MessageHandler {
  readonly received = new Map<number, MessageInfo>();
  duplicates = 0;
  readonly idOfToken = new Map<number, number>();
  readonly lost = new Set<number>();
  readonly covered: number[] = [];

  onMessage(bytes: Uint8Array, info: MessageInfo): void {
    const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
    if (this.received.has(number)) this.duplicates++;
    this.received.set(number, { ...info });
  }

  onMessageSent(id: number, token: number): void {
    this.idOfToken.set(token, id);
  }

  onMessageLost(id: number): void {
    this.lost.add(id);
  }

  onCovered(layers: number, endId: number): void {
    expect(endId).toBeGreaterThan(this.covered[layers] ?? 0);
    this.covered[layers] = endId;
  }
}

interface Talk {
  readonly world: World;
  readonly a: Inbox;
  readonly b: Inbox;
}

function connected(seed: number, path: LinkChanges = {}): Talk {
  const [a, b] = [new Inbox(), new Inbox()];
  const world = new World({ seed, path, messages: [a, b] });
  expect(world.run(5 * SECOND, () => world.a.ups === 1 && world.b.ups === 1)).toBe(true);
  return { world, a, b };
}

function message(number: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(number);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

function send({ world }: Talk, count: number, everyMicros: number, length = 1000): void {
  for (let i = 0; i < count; i++) {
    expect(world.a.link.sendMessage(message(i, length), "protected", i)).toBe(true);
    world.run(world.nowMicros + everyMicros);
  }
}

const FAR: LinkChanges = { delayMicros: 50 * MILLISECOND };

describe("protected messages", () => {
  it("arrive once each after one way, under the id that the sender was told", () => {
    const talk = connected(1, FAR);
    const start = talk.world.nowMicros;
    send(talk, 200, 100);
    expect(talk.b.received.size).toBe(0);
    talk.world.run(start + 71 * MILLISECOND);
    expect(talk.b.received.size).toBe(200);
    for (const [number, { id, mode, isRebuilt }] of talk.b.received) {
      expect(id).toBe(talk.a.idOfToken.get(number));
      expect([mode, isRebuilt]).toEqual(["protected", false]);
    }
  });

  it("that are lost are rebuilt without a round trip, and none is sent again", () => {
    const talk = connected(2, { ...FAR, loss: { kind: "independent", share: 0.02 } });
    const start = talk.world.nowMicros;
    send(talk, 2000, 200);
    talk.world.run(start + 400 * MILLISECOND + 95 * MILLISECOND);
    const rebuilt = [...talk.b.received.values()].filter((info) => info.isRebuilt).length;
    expect(rebuilt).toBeGreaterThan(10);
    expect(talk.b.received.size, talk.world.describe()).toBeGreaterThanOrEqual(1999);
    expect(talk.b.duplicates).toBe(0);
    const { retransmittedPackets, dataPacketsSent } = talk.world.a.link.statistics;
    expect([retransmittedPackets, dataPacketsSent]).toEqual([0, 2000]);
  });

  it("beyond repair are told to the sender: all that never arrived, and a few that came late", () => {
    const talk = connected(3, FAR);
    const loss = { kind: "bursts", share: 0.3, meanPackets: 20 } as const;
    talk.world.aToB.configure({ loss }, talk.world.nowMicros);
    send(talk, 3000, 100);
    talk.world.run(talk.world.nowMicros + 5 * SECOND);
    const missing = [...talk.a.idOfToken].filter(([number]) => !talk.b.received.has(number));
    expect(missing.length, talk.world.describe()).toBeGreaterThan(100);
    for (const [, id] of missing) expect(talk.a.lost.has(id)).toBe(true);
    expect(talk.a.lost.size).toBeLessThan(1.2 * missing.length);
    expect(talk.world.a.link.statistics.messagesLost).toBe(talk.a.lost.size);
  });

  it("a lost tail leaves nobody waiting: the next ping says that it is settled", () => {
    const talk = connected(4, FAR);
    send(talk, 10, 100);
    talk.world.run(talk.world.nowMicros + SECOND);
    talk.world.aToB.cut();
    send(talk, 5, 100);
    talk.world.run(talk.world.nowMicros + 100 * MILLISECOND);
    talk.world.aToB.restore();
    talk.world.run(talk.world.nowMicros + 4 * SECOND);
    const before = talk.world.b.link.statistics.datagramsSent;
    talk.world.run(talk.world.nowMicros + 10 * SECOND);
    expect(talk.world.b.link.statistics.datagramsSent - before).toBeLessThan(25);
  });

  it("are as long as a datagram allows, and no longer", () => {
    const talk = connected(5);
    const { link } = talk.world.a;
    for (const mode of ["protected", "bare"] as const) {
      const most = link.messageBytes(mode);
      expect(link.sendMessage(message(most, most), mode)).toBe(true);
      expect(link.sendMessage(new Uint8Array(most + 1), mode)).toBe(false);
      talk.world.run(talk.world.nowMicros + 100 * MILLISECOND);
      expect(talk.b.received.get(most)?.mode).toBe(mode);
    }
  });

  it("are refused when the queue is full, and again taken when it has drained", () => {
    const talk = connected(6, { rateBitsPerSecond: 1e7 });
    const { link } = talk.world.a;
    let taken = 0;
    while (link.sendMessage(message(taken, 1000), "protected", taken)) taken++;
    expect(taken).toBe(512);
    expect(link.statistics.messagesRefused).toBe(1);
    talk.world.run(talk.world.nowMicros + 10 * MILLISECOND);
    expect(link.sendMessage(message(taken, 1000), "protected", taken)).toBe(true);
  });

  it("and the stream share the line, and the stream arrives whole", () => {
    const talk = connected(7, { ...FAR, loss: { kind: "independent", share: 0.01 } });
    talk.world.a.write(2 ** 20);
    send(talk, 500, 300);
    const isDone = () => talk.world.b.receivedOffset === 2 ** 20;
    expect(talk.world.run(talk.world.nowMicros + 5 * SECOND, isDone)).toBe(true);
    talk.world.run(talk.world.nowMicros + 200 * MILLISECOND);
    expect(talk.world.b.wrongBytes).toBe(0);
    expect(talk.b.received.size).toBeGreaterThan(495);
    expect(talk.b.duplicates).toBe(0);
  });

  it("promise nothing: one that is lost does not hold up what is safe of the stream", () => {
    const talk = connected(8, FAR);
    talk.world.aToB.cut();
    send(talk, 3, 100);
    talk.world.aToB.restore();
    talk.world.a.write(4096);
    talk.world.a.link.hurry(4096);
    const isSafe = () => talk.world.a.link.safeOffset === 4096;
    expect(talk.world.run(talk.world.nowMicros + 20 * MILLISECOND, isSafe)).toBe(true);
  });
});

describe("bare messages", () => {
  it("have no id, cost one datagram each, and are lost when they are lost", () => {
    const talk = connected(9, { ...FAR, loss: { kind: "independent", share: 0.1 } });
    const before = talk.world.a.link.statistics.datagramsSent;
    for (let i = 0; i < 1000; i++) {
      talk.world.a.link.sendMessage(message(i, 100), "bare");
      talk.world.run(talk.world.nowMicros + 200);
    }
    talk.world.run(talk.world.nowMicros + 200 * MILLISECOND);
    expect(talk.b.received.size).toBeGreaterThan(850);
    expect(talk.b.received.size).toBeLessThan(950);
    for (const { id, mode } of talk.b.received.values()) expect([id, mode]).toEqual([-1, "bare"]);
    const { datagramsSent, dataPacketsSent } = talk.world.a.link.statistics;
    expect(dataPacketsSent).toBe(0);
    expect(datagramsSent - before).toBeLessThan(1010);
  });
});

describe("coverage", () => {
  it("comes layer by layer, never ahead of the data, and completely when the line falls idle", () => {
    const talk = connected(10);
    send(talk, 50, 100);
    const [data = 0, one = 0, two = 0, three = 0] = talk.a.covered;
    expect(data).toBe(50);
    expect(one).toBeGreaterThan(20);
    expect(one).toBeLessThan(50);
    expect(two).toBeLessThanOrEqual(one);
    expect(three).toBeLessThanOrEqual(two);
    talk.world.run(talk.world.nowMicros + 100 * MILLISECOND);
    expect(talk.a.covered).toEqual([50, 50, 50, 50]);
  });
});
