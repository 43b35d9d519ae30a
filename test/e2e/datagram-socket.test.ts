import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { declare } from "../../sys/libc.ts";
import { DatagramSocket, type Peer, widenBuffers } from "../../sys/datagram-socket.ts";

const MAX_BYTES = 1500;
const open: Socket[] = [];

afterEach(() => {
  for (const socket of open.splice(0)) socket.close();
});

async function bound(host: string): Promise<Socket> {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  open.push(socket);
  socket.bind(0, host);
  await once(socket, "listening");
  widenBuffers(socket, 4 * 2 ** 20);
  return socket;
}

interface Heard {
  readonly datagrams: Uint8Array[];
  readonly peers: Set<Peer>;
  readonly end: DatagramSocket;
  /** Resolves when so many have arrived. */
  readonly arrived: (count: number) => Promise<void>;
}

function listen(socket: Socket): Heard {
  const datagrams: Uint8Array[] = [];
  const peers = new Set<Peer>();
  let wake = (): void => {};
  const onDatagram = (datagram: Uint8Array, from: Peer): void => {
    datagrams.push(Uint8Array.from(datagram));
    peers.add(from);
  };
  const end = new DatagramSocket(socket, MAX_BYTES, onDatagram, () => wake());
  const arrived = (count: number): Promise<void> =>
    new Promise((resolve) => {
      wake = () => {
        if (datagrams.length >= count) resolve();
      };
      wake();
    });
  return { datagrams, peers, end, arrived };
}

function numbered(i: number): Uint8Array {
  const datagram = new Uint8Array(4 + (i % 1400)).fill(i);
  new DataView(datagram.buffer).setUint32(0, i);
  return datagram;
}

/** Runs of one length, longer and shorter than the kernel cuts at once, and lone ones between. */
function inRuns(i: number): Uint8Array {
  const length = [1400, 1400, 1400, 900, 900, 1400, 20, 1400][(i >> 3) % 8] ?? 0;
  return i % 29 === 0 ? numbered(i) : new Uint8Array(length).fill(i);
}

/** A socket without checksums is one that the kernel cuts no messages for (EINVAL, udp(7)). */
function forbidSegments(socket: Socket): void {
  const states = Object.getOwnPropertySymbols(socket).map((key) => Reflect.get(socket, key));
  const fd = states.map((state) => state?.handle?.fd).find((found) => typeof found === "number");
  const [SOL_SOCKET, SO_NO_CHECK] = [1, 11];
  const setsockopt = declare("setsockopt", "int setsockopt(int, int, int, void *, uint32_t)");
  setsockopt(fd ?? -1, SOL_SOCKET, SO_NO_CHECK, Uint8Array.of(1, 0, 0, 0), 4);
}

it.each(["cut by the kernel", "sent one by one"])(
  "runs of one length arrive whole: %s",
  async (how) => {
    const [a, b] = [await bound("127.0.0.1"), await bound("127.0.0.1")];
    a.connect(b.address().port, "127.0.0.1");
    await once(a, "connect");
    if (how === "sent one by one") forbidSegments(a);
    const sender = listen(a);
    const receiver = listen(b);
    const sent = Array.from({ length: 400 }, (_, i) => inRuns(i));
    for (const datagram of sent) sender.end.send(datagram, null);
    sender.end.flush();
    await receiver.arrived(sent.length);
    expect(receiver.datagrams).toEqual(sent);
    expect(sender.end.statistics.sendErrors).toBe(0);
  },
);

describe.each(["by the batch", "through Node"])("datagrams %s", (how) => {
  beforeEach(() => {
    vi.stubEnv("SMFS_DATAGRAMS", how === "through Node" ? "plain" : "");
  });
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  it("the way asked for is taken where there is one", async () => {
    const isPossible = process.platform === "linux" && how === "by the batch";
    expect(listen(await bound("127.0.0.1")).end.isBatched).toBe(isPossible);
  });

  it.each(["127.0.0.1", "::1"])(
    "arrive whole and in order, and answers find back (%s)",
    async (host) => {
      const [a, b] = [await bound(host), await bound(host)];
      a.connect(b.address().port, host);
      await once(a, "connect");
      const sender = listen(a);
      const receiver = listen(b);
      const count = 500;
      for (let i = 0; i < count; i++) sender.end.send(numbered(i), null);
      sender.end.flush();
      await receiver.arrived(count);
      expect(receiver.datagrams).toEqual(Array.from({ length: count }, (_, i) => numbered(i)));
      expect(sender.end.queuedDatagrams).toBe(0);

      const from = [...receiver.peers].at(-1);
      if (from === undefined) throw new Error("nobody was heard");
      expect(from).toMatchObject({ host, port: a.address().port });
      for (let i = 0; i < 100; i++) receiver.end.send(numbered(i), from);
      receiver.end.flush();
      await sender.arrived(100);
      expect(sender.datagrams).toEqual(Array.from({ length: 100 }, (_, i) => numbered(i)));
    },
  );

  it("what is longer than the slot comes out longer than what is legal, so that it is seen", async () => {
    const [a, b] = [await bound("127.0.0.1"), await bound("127.0.0.1")];
    const receiver = listen(b);
    // Three at once: the first comes through Node in any case.
    for (let i = 0; i < 3; i++) a.send(new Uint8Array(2000), b.address().port, "127.0.0.1");
    await receiver.arrived(3);
    for (const datagram of receiver.datagrams) expect(datagram.length).toBeGreaterThan(MAX_BYTES);
  });

  it("a port where nobody listens is counted, and what follows still leaves", async () => {
    const [a, b] = [await bound("127.0.0.1"), await bound("127.0.0.1")];
    const port = b.address().port;
    open.splice(open.indexOf(b), 1);
    b.close();
    await once(b, "close");
    a.connect(port, "127.0.0.1");
    await once(a, "connect");
    let refusals = 0;
    a.on("error", () => refusals++);
    const { end } = listen(a);
    for (let i = 0; i < 200; i++) {
      end.send(numbered(i), null);
      end.flush();
    }
    while (end.statistics.sendErrors + refusals === 0) await setImmediate();
    expect(end.statistics.datagramsSent).toBe(200);
  });
});
