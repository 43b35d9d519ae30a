/** Several peers of the appliance on one UDP socket of its data plane, over loopback. */
import { afterEach, expect, it } from "vitest";
import { Channel, type ChannelHandler } from "../../gateway/appliance/channel.ts";
import type { PeerSettings } from "../../gateway/appliance/settings.ts";
import { type Wire, wiresOf } from "../../gateway/appliance/wire.ts";
import { Answers } from "../../gateway/core/transport/answers.ts";
import type { Credentials } from "../../gateway/core/transport/credentials.ts";
import type { MessageHandler } from "../../gateway/core/transport/messages.ts";
import { nodeCrypto } from "../../gateway/udp/crypto.ts";
import { PollSet } from "../../sys/poll.ts";
import { encodeSockaddr } from "../../sys/sockaddr.ts";
import { systemTime } from "../../sys/time.ts";
import { UdpSocket } from "../../sys/udp-socket.ts";
import { staticPair } from "../transport-keys.ts";

const LOOPBACK = { host: "127.0.0.1", port: 0 };
const sockets: UdpSocket[] = [];

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close();
});

function openSocket(): UdpSocket {
  const socket = new UdpSocket({ local: LOOPBACK, bufferBytes: 2 ** 18, fragment: "probe" });
  sockets.push(socket);
  return socket;
}

/** One side of one peering, and the marks of the messages that it got. */
class Station {
  readonly socket: number;
  readonly channel: Channel;
  readonly received = new Set<number>();

  constructor(socket: UdpSocket, remote: UdpSocket | null, key: Credentials, answers: Answers) {
    this.socket = socket.fd;
    const settings: PeerSettings = {
      name: "peer",
      socket: socket.fd,
      localPort: socket.address.port,
      remote: remote === null ? null : encodeSockaddr(remote.address),
      key,
      prefixes: [],
      transport: {},
      holdMicros: 0,
      place: 0,
    };
    const handler: ChannelHandler = { onBatch() {}, onUp() {}, onDown() {}, onAddress() {} };
    const messages: MessageHandler = {
      onMessage: (bytes) => this.received.add(bytes[0] ?? 0),
      onMessageSent() {},
      onMessageLost() {},
      onCovered() {},
    };
    this.channel = new Channel(settings, handler, messages, answers, systemTime.nowMicros());
  }
}

/** Until `done`, or for ten seconds. */
function run(wires: readonly Wire[], stations: readonly Station[], done: () => boolean): boolean {
  const poll = new PollSet(wires.map(({ socket }) => socket));
  const endMicros = systemTime.nowMicros() + 10_000_000;
  while (!done() && systemTime.nowMicros() < endMicros) {
    poll.wait(1000);
    for (const [i, wire] of wires.entries()) if (poll.isReadable(i)) wire.receive();
    for (const { channel } of stations) channel.pump(systemTime.nowMicros());
  }
  return done();
}

it("each peer's messages come to its own channel, and go back to its own address", () => {
  const answers = new Answers();
  const [mine, theirs] = staticPair(nodeCrypto);
  const pairs: (readonly [Credentials, Credentials])[] = [
    [mine, theirs],
    ...[1, 2].map((byte) => {
      const key = new Uint8Array(32).fill(byte);
      return [key, key] as const;
    }),
  ];
  const shared = openSocket();
  const called = pairs.map(([key]) => new Station(shared, null, key, answers));
  const callers = pairs.map(([, key]) => new Station(openSocket(), shared, key, new Answers()));
  const stations = [...called, ...callers];
  const wires = wiresOf(stations, answers);
  expect(wires).toHaveLength(1 + callers.length);
  const isUp = () => stations.every(({ channel }) => channel.association.up);
  expect(run(wires, stations, isUp)).toBe(true);
  for (const side of [called, callers]) {
    for (const [i, { channel }] of side.entries()) {
      expect(channel.association.sendMessage(Uint8Array.of(i, 1, 2, 3), "protected")).toBe(true);
    }
  }
  const isDone = () => stations.every(({ received }) => received.size > 0);
  expect(run(wires, stations, isDone)).toBe(true);
  for (const side of [called, callers]) {
    for (const [i, { received }] of side.entries()) expect([...received]).toEqual([i]);
  }
});
