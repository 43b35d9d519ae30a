import { Worker } from "node:worker_threads";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { spawnSync } from "node:child_process";
import { readlinkSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { CoalescedReceiver } from "../../sys/coalesced-receiver.ts";
import { Receiver, Sender } from "../../sys/datagrams.ts";
import { ip } from "../../sys/iproute.ts";
import { nativeMemory } from "../../sys/libc.ts";
import { inNamespace } from "../../sys/netns.ts";
import { directionOf, PacketSocket } from "../../sys/packet-socket.ts";
import { Bell, PollSet } from "../../sys/poll.ts";
import { decodeSockaddr } from "../../sys/sockaddr.ts";
import { openTun, type TunDevice, type TunOptions } from "../../sys/tun.ts";
import { UdpSocket } from "../../sys/udp-socket.ts";
import { interfacesOf, namespace, whyNoNamespaces } from "../namespaces.ts";
import { AS_NOBODY, whyNoNobody } from "./harness.ts";

const LOCAL = { host: "127.0.0.1", port: 0 };
const HERE = "192.0.2.1";
const THERE = "192.0.2.2";
const whyNot = whyNoNamespaces();
const skipped = whyNot === null ? "" : ` (skipped: ${whyNot})`;
const closing: { close(): void }[] = [];

afterEach(() => {
  for (const each of closing.splice(0)) each.close();
});

function closed<T extends { close(): void }>(each: T): T {
  closing.push(each);
  return each;
}

function tunIn(name: string, options: Partial<TunOptions> = {}): TunDevice {
  const all: TunOptions = { name: "smfs0", offload: "none", queue: "only", ...options };
  const tun = closed(inNamespace(name, () => openTun(all)));
  ip(name, ["address", "add", `${HERE}/24`, "dev", tun.name]);
  ip(name, ["link", "set", tun.name, "up"]);
  return tun;
}

/** IPv4 without options, UDP: back to the sender. Swapping leaves both checksums right. */
function turnAround(packet: Uint8Array): void {
  const source = packet.slice(12, 16);
  packet.copyWithin(12, 16, 20);
  packet.set(source, 16);
  const port = packet.slice(20, 22);
  packet.copyWithin(20, 22, 24);
  packet.set(port, 22);
}

/** Reads until a packet of IPv4 to `THERE` comes; the kernel also sends some of its own. */
function readUdp(tun: TunDevice, memory: ReturnType<typeof nativeMemory>): number {
  const poll = new PollSet([tun.fd]);
  for (let tries = 0; tries < 100; tries++) {
    expect(poll.wait(2e6)).toBe(1);
    const length = tun.read(memory, 0, memory.bytes.length);
    if (memory.bytes[tun.headerBytes + 9] === 17 && length > 0) return length;
  }
  throw new Error("no UDP packet came");
}

describe.skipIf(whyNot !== null)(`TUN devices in namespaces${skipped}`, () => {
  it.each(["none", "checksum", "segmentation"] as const)(
    "a datagram leaves through the device and its answer comes back (offload: %s)",
    (offload) => {
      const name = namespace();
      const tun = tunIn(name, { offload });
      const socket = closed(
        inNamespace(
          name,
          () => new UdpSocket({ local: { host: HERE, port: 0 }, peer: { host: THERE, port: 7 } }),
        ),
      );
      const sender = new Sender(4, 100);
      sender.push(new TextEncoder().encode("question"), null);
      expect(sender.flush(socket.fd, () => expect.unreachable())).toBe(0);

      const memory = nativeMemory(2048);
      const length = readUdp(tun, memory);
      expect(length).toBe(tun.headerBytes + 28 + "question".length);
      turnAround(memory.bytes.subarray(tun.headerBytes));
      expect(tun.write(memory, 0, length)).toBe(0);

      const receiver = new Receiver(4, 100);
      expect(new PollSet([socket.fd]).wait(2e6)).toBe(1);
      expect(receiver.receive(socket.fd)).toBe(1);
      expect(new TextDecoder().decode(receiver.datagram(0))).toBe("question");
    },
  );

  it("a packet socket tells what leaves from what comes", () => {
    const name = namespace();
    const tun = tunIn(name);
    const peer = { host: THERE, port: 7 };
    const [socket, packets] = inNamespace(name, () => [
      closed(new UdpSocket({ local: { host: HERE, port: 0 }, peer })),
      closed(new PacketSocket({ interfaceName: "smfs0", link: "cooked" })),
    ]);
    const sender = new Sender(1, 100);
    sender.push(new Uint8Array(10), null);
    sender.flush(socket.fd, () => expect.unreachable());
    const memory = nativeMemory(2048);
    const length = readUdp(tun, memory);
    turnAround(memory.bytes);
    expect(tun.write(memory, 0, length)).toBe(0);

    const receiver = new Receiver(64, 2048);
    expect(new PollSet([packets.fd]).wait(2e6)).toBe(1);
    const count = receiver.receive(packets.fd);
    const found = Array.from({ length: count }, (_, i) => i).filter(
      (i) => receiver.datagram(i)[0] === 0x45,
    );
    expect(found.map((i) => directionOf(receiver.source(i)))).toEqual(["outgoing", "to-us"]);
    expect(receiver.datagram(found[1] ?? -1)).toEqual(memory.bytes.subarray(0, length));
  });

  it("reading waits for nothing, and a device that is down refuses packets", () => {
    const name = namespace();
    const tun = tunIn(name);
    const memory = nativeMemory(2048);
    while (tun.read(memory, 0, 2048) > 0);
    expect(tun.read(memory, 0, 2048)).toBe(0);
    ip(name, ["link", "set", tun.name, "down"]);
    memory.bytes[0] = 0x45;
    expect(tun.write(memory, 0, 40)).toBe(5); // EIO
  });

  it("the device is in its namespace, this thread is not, and closing takes it away", () => {
    const before = readlinkSync("/proc/thread-self/ns/net");
    const name = namespace();
    const tun = inNamespace(name, () =>
      openTun({ name: "smfs%d", offload: "none", queue: "only" }),
    );
    expect(tun.name).toBe("smfs0");
    expect(readlinkSync("/proc/thread-self/ns/net")).toBe(before);
    expect(interfacesOf(name)).toEqual(["smfs0"]);
    tun.close();
    expect(interfacesOf(name)).toEqual([]);
  });

  it("a name that is taken, or none, is an error that says so", () => {
    const name = namespace();
    tunIn(name);
    expect(() => tunIn(name)).toThrow(expect.objectContaining({ code: "BUSY" }));
    const noName = () => openTun({ name: "a b", offload: "none", queue: "only" });
    expect(noName).toThrow(expect.objectContaining({ code: "USAGE" }));
  });

  it("several queues share one device", () => {
    const name = namespace();
    const several: TunOptions = { name: "smfs0", offload: "none", queue: "one-of-several" };
    const tuns = [0, 1].map(() => closed(inNamespace(name, () => openTun(several))));
    expect(tuns.map((tun) => tun.name)).toEqual(["smfs0", "smfs0"]);
  });

  it("a body that throws or waits does not keep the thread in its namespace", () => {
    const before = readlinkSync("/proc/thread-self/ns/net");
    const name = namespace();
    const fails = () =>
      inNamespace(name, () => {
        throw new Error("inside");
      });
    expect(fails).toThrow("inside");
    expect(() => inNamespace(name, async () => {})).toThrow(/await/);
    expect(readlinkSync("/proc/thread-self/ns/net")).toBe(before);
    const missing = () => inNamespace("smfs-no-such", () => {});
    expect(missing).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
  });

  it("node:dgram takes a socket that was made in a namespace", async () => {
    const name = namespace();
    const made = inNamespace(name, () => new UdpSocket({ local: LOCAL }));
    const node = createSocket("udp4");
    const listening = once(node, "listening");
    node.bind({ fd: made.fd });
    await listening;
    const peer = made.address;
    const other = closed(inNamespace(name, () => new UdpSocket({ local: LOCAL, peer })));
    const heard = once(node, "message");
    const sender = new Sender(1, 10);
    sender.push(Uint8Array.of(1, 2), null);
    sender.flush(other.fd, () => expect.unreachable());
    expect((await heard)[0]).toEqual(Buffer.from([1, 2]));
    node.close();
  });
});

const noNobody = whyNoNobody();
const skippedNobody = noNobody === undefined ? "" : ` (skipped: ${noNobody})`;
describe.skipIf(noNobody !== undefined)(`a user without rights${skippedNobody}`, () => {
  it.each([
    ["tun", 'openTun({ name: "smfs0", offload: "none", queue: "only" })'],
    ["packet-socket", 'new PacketSocket({ interfaceName: "lo", link: "raw" })'],
    ["scheduling", '(() => { if (!setScheduling("realtime")) throw { code: "NOT_PERMITTED" } })()'],
  ])("is told that %s needs more", (file, use) => {
    const url = new URL(`../../dist/sys/${file}.js`, import.meta.url).href;
    const names = "openTun, PacketSocket, setScheduling";
    const source = `const { ${names} } = await import("${url}");
      try { ${use}; } catch (error) { process.stdout.write(error.code); }`;
    const [command, ...args] = [...AS_NOBODY, process.execPath, "--input-type=module"];
    const { stdout } = spawnSync(command, [...args, "--eval", source], { encoding: "utf8" });
    expect(stdout).toBe("NOT_PERMITTED");
  });
});

it("what is no interface has no packet socket", () => {
  const missing = () => new PacketSocket({ interfaceName: "smfs-none", link: "raw" });
  expect(missing).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
});

it("a wait ends at its time, and at once for what is there", () => {
  const bell = closed(new Bell());
  const poll = new PollSet([bell.fd]);
  const started = performance.now();
  expect(poll.wait(20_500)).toBe(0);
  expect(performance.now() - started).toBeGreaterThanOrEqual(20.4);
  expect(bell.quiet()).toBe(false);
  bell.ring();
  bell.ring();
  expect(poll.wait(Infinity)).toBe(1);
  expect(poll.isReadable(0)).toBe(true);
  expect(bell.quiet()).toBe(true);
  expect(poll.wait(0)).toBe(0);
});

it("a bell wakes a thread that waits for ever", async () => {
  const bell = closed(new Bell());
  const source = `
    import { parentPort, workerData } from "node:worker_threads";
    const { Bell, PollSet } = await import(workerData.poll);
    parentPort.postMessage("waiting");
    const poll = new PollSet([workerData.fd]);
    while (poll.wait(Infinity) === 0);
    parentPort.postMessage(new Bell(workerData.fd).quiet());`;
  const poll = new URL("../../dist/sys/poll.js", import.meta.url).href;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
    workerData: { poll, fd: bell.fd },
  });
  expect((await once(worker, "message"))[0]).toBe("waiting");
  bell.ring();
  expect((await once(worker, "message"))[0]).toBe(true);
  await once(worker, "exit");
});

it("a thread that waits for ever ends with its process, and when it is told", async () => {
  const bell = closed(new Bell());
  const source = `
    import { parentPort, workerData } from "node:worker_threads";
    const { PollSet } = await import(workerData.poll);
    const poll = new PollSet([workerData.fd]);
    parentPort.postMessage("waiting");
    for (;;) poll.wait(Infinity);`;
  const poll = new URL("../../dist/sys/poll.js", import.meta.url).href;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
    workerData: { poll, fd: bell.fd },
  });
  await once(worker, "message");
  expect(await worker.terminate()).toBe(1);
});

it.each(["127.0.0.1", "::1"])("synchronous UDP sockets at %s talk to one another", (host) => {
  const one = closed(new UdpSocket({ local: { host, port: 0 }, bufferBytes: 2 ** 20 }));
  const two = closed(
    new UdpSocket({ local: { host, port: 0 }, peer: one.address, fragment: "never" }),
  );
  const sender = new Sender(8, 1500);
  for (let i = 0; i < 8; i++) sender.push(new Uint8Array(1000).fill(i), null);
  expect(sender.flush(two.fd, () => expect.unreachable())).toBe(0);
  const receiver = new Receiver(16, 1500);
  expect(new PollSet([one.fd]).wait(2e6)).toBe(1);
  expect(receiver.receive(one.fd)).toBe(8);
  for (let i = 0; i < 8; i++) expect(receiver.datagram(i)).toEqual(new Uint8Array(1000).fill(i));
  sender.push(new Uint8Array(9), receiver.source(0).slice());
  expect(sender.flush(one.fd, () => expect.unreachable())).toBe(0);
  expect(new PollSet([two.fd]).wait(2e6)).toBe(1);
  expect(receiver.receive(two.fd)).toBe(1);
});

/** Runs of one length, longer and shorter than the kernel puts together, and lone ones between. */
function inRuns(i: number): Uint8Array {
  const length = [1400, 1400, 1400, 900, 900, 1400, 20, 1400][(i >> 3) % 8] ?? 0;
  return new Uint8Array(i % 29 === 0 ? 1 + i : length).fill(i);
}

describe.each(["if-possible", "never"] as const)("messages cut by the kernel: %s", (cut) => {
  it.each(["one-by-one", "together"] as const)(
    "what is sent in runs arrives whole and in order, %s",
    (arrive) => {
      const local = { host: "127.0.0.1", port: 0 };
      const bufferBytes = 8 * 2 ** 20;
      const to = closed(new UdpSocket({ local, bufferBytes, arrive }));
      const from = closed(new UdpSocket({ local, bufferBytes, peer: to.address }));
      const sent = Array.from({ length: 512 }, (_, i) => inRuns(i));
      const sender = new Sender(64, 2000, cut);
      for (const datagram of sent) {
        sender.push(datagram, null);
        if (sender.isFull) expect(sender.flush(from.fd, () => expect.unreachable())).toBe(0);
      }
      const together = new CoalescedReceiver(16);
      const receiver = arrive === "together" ? together : new Receiver(64, 2001);
      const received: Uint8Array[] = [];
      const poll = new PollSet([to.fd]);
      while (received.length < sent.length && poll.wait(2e6) > 0) {
        const count = receiver.receive(to.fd);
        for (let i = 0; i < count; i++) {
          received.push(receiver.datagram(i).slice());
          expect(decodeSockaddr(receiver.source(i))).toEqual(from.address);
        }
      }
      expect(received).toEqual(sent);
      // What leaves together arrives together: the loopback does not take it apart.
      if (arrive === "together" && cut === "if-possible") {
        expect(together.messages).toBeLessThan(sent.length / 2);
      }
    },
  );
});

describe.skipIf(whyNot !== null)(`an interface that takes 1300 bytes${skipped}`, () => {
  it("refuses what is longer, says how long it was, and the rest still leaves together", () => {
    const name = namespace();
    ip(name, ["link", "set", "lo", "up", "mtu", "1300"]);
    const inside = <T>(make: () => T): T => inNamespace(name, make);
    const local = { host: "127.0.0.1", port: 0 };
    const to = closed(inside(() => new UdpSocket({ local, arrive: "together" })));
    const options = { local, peer: to.address, fragment: "probe" } as const;
    const from = closed(inside(() => new UdpSocket(options)));
    const sender = new Sender(64, 2000);
    const lengths = [1272, 1272, 1400, 1000, ...Array.from({ length: 16 }, () => 1272), 1273, 900];
    for (const length of lengths) sender.push(new Uint8Array(length), null);
    expect(sender.flush(from.fd, () => expect.unreachable())).toBe(2);
    expect(sender.tooLongBytes).toBe(1273);
    const receiver = new CoalescedReceiver(64);
    const received: number[] = [];
    for (let count = receiver.receive(to.fd); count > 0; count = receiver.receive(to.fd)) {
      for (let i = 0; i < count; i++) received.push(receiver.datagram(i).length);
    }
    expect(received).toEqual(lengths.filter((length) => length <= 1272));
    expect(receiver.messages).toBeLessThan(10);
    sender.push(new Uint8Array(10), null);
    sender.flush(from.fd, () => expect.unreachable());
    expect(sender.tooLongBytes).toBe(0);
  });
});

it("an address that is not of this machine is an error that names it", () => {
  const elsewhere = () => new UdpSocket({ local: { host: "192.0.2.99", port: 5 } });
  expect(elsewhere).toThrow(/192\.0\.2\.99:5/);
});
