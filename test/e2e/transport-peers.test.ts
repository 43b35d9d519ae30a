/** Several peers on one real socket, and a flood of strangers beside them. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import type { Logger } from "../../lib/ports.ts";
import { Prng } from "../../lib/prng.ts";
import type { Credentials } from "../../gateway/core/transport/credentials.ts";
import { handshakeSecrets, initiate } from "../../gateway/core/transport/handshake.ts";
import type { LinkHandler } from "../../gateway/core/transport/link.ts";
import { nodeCrypto } from "../../gateway/udp/crypto.ts";
import { openLink, type UdpLink } from "../../gateway/udp/endpoint.ts";
import { UdpListener } from "../../gateway/udp/listener.ts";
import { staticPair } from "../transport-keys.ts";

const logger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const NOTHING: LinkHandler = {
  onUp() {},
  onDown() {},
  onData() {},
  onWritable() {},
  onProgress() {},
};
const open: { close(): void }[] = [];

afterEach(() => {
  for (const each of open.splice(0).toReversed()) each.close();
});

async function listener(): Promise<UdpListener> {
  const made = await UdpListener.open("127.0.0.1:0", logger);
  open.push(made);
  return made;
}

/** Resolves when `total` bytes were received, all of them `mark`. */
function expectStream(to: UdpListener, key: Credentials, mark: number, total: number) {
  return new Promise<void>((resolve, reject) => {
    let received = 0;
    const onData = (bytes: Uint8Array): void => {
      if (bytes.some((byte) => byte !== mark)) reject(new Error("another peer's bytes"));
      received += bytes.length;
      if (received === total) resolve();
    };
    to.add({ key, handler: { ...NOTHING, onData } });
  });
}

async function caller(port: number, key: Credentials, mark: number, total: number) {
  let left = total;
  const write = (): void => {
    while (left > 0 && link.writableBytes > 0) {
      const length = Math.min(left, link.writableBytes, 65_536);
      link.write(new Uint8Array(length).fill(mark));
      left -= length;
    }
  };
  const handler = { ...NOTHING, onUp: write, onWritable: write };
  const link: UdpLink = await openLink({ peer: `127.0.0.1:${port}`, key, handler, logger });
  open.push(link);
}

describe("one socket", () => {
  it("carries the streams of several peers, each by its own kind of key", async () => {
    const total = 2 ** 20;
    const shared = await listener();
    const [mine, theirs] = staticPair(nodeCrypto);
    const psk = new Uint8Array(32).fill(3);
    const other = new Uint8Array(32).fill(4);
    const streams = [
      expectStream(shared, mine, 1, total),
      expectStream(shared, psk, 2, total),
      expectStream(shared, other, 3, total),
    ];
    await caller(shared.localPort, theirs, 1, total);
    await caller(shared.localPort, psk, 2, total);
    await caller(shared.localPort, other, 3, total);
    await Promise.all(streams);
    expect(shared.statistics.strangers).toBe(0);
  });

  it("a flood of forged, damaged and foreign datagrams leaves the stream whole", async () => {
    const total = 4 * 2 ** 20;
    const shared = await listener();
    const key = new Uint8Array(32).fill(5);
    const stream = expectStream(shared, key, 9, total);
    shared.add({ key: new Uint8Array(32).fill(6), handler: NOTHING });
    const flood = await startFlood(shared.localPort, key);
    await caller(shared.localPort, key, 9, total);
    await stream;
    const { sent, answered } = await flood.stop();
    expect(sent).toBeGreaterThan(1000);
    expect(shared.statistics.strangers).toBeGreaterThan(100);
    expect(answered, "answers have a rate").toBeLessThan(sent / 10);
  });

  it("a stranger's key is refused with a notice that says nothing of who is there", async () => {
    const shared = await listener();
    for (const byte of [1, 2]) shared.add({ key: new Uint8Array(32).fill(byte), handler: NOTHING });
    const refused = new Promise<string>((resolve) => {
      const handler = { ...NOTHING, onDown: (_code: string, reason: string) => resolve(reason) };
      const peer = `127.0.0.1:${shared.localPort}`;
      const key = new Uint8Array(32).fill(3);
      void openLink({ peer, key, handler, logger }).then((link) => open.push(link));
    });
    expect(await refused).toMatch(/does not accept our key/);
  });
});

/** A stranger sends as much as the loop lets it, from now on. */
async function startFlood(port: number, key: Uint8Array) {
  const socket = createSocket("udp4");
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  const prng = new Prng(1);
  // Replays of one init that was authentic once, too: the worst that a stranger can have.
  const recorded = initiate(nodeCrypto, handshakeSecrets(nodeCrypto, key), 1).datagram;
  const counts = { sent: 0, answered: 0 };
  let isOver = false;
  socket.on("message", () => counts.answered++);
  const send = (): void => {
    for (let i = 0; i < 20; i++) socket.send(forged(prng, recorded), port, "127.0.0.1");
    counts.sent += 20;
    if (!isOver) setImmediate(send);
  };
  send();
  return {
    async stop() {
      isOver = true;
      const closed = once(socket, "close");
      setImmediate(() => socket.close());
      await closed;
      return counts;
    },
  };
}

function forged(prng: Prng, recorded: Uint8Array): Uint8Array {
  const bytes = recorded.slice(0, prng.chance(0.5) ? recorded.length : prng.below(96));
  if (prng.chance(0.3)) return bytes;
  bytes[0] = 1 + prng.below(4);
  for (let i = 0; i < 4; i++) {
    if (bytes.length > 2) bytes[2 + prng.below(bytes.length - 2)] = prng.below(256);
  }
  return bytes;
}
