/**
 * One UDP socket of the data plane, with the channels of the peers on it: each peer that is called
 * has a socket of its own, those that call one address share it.
 */
import { Receiver, Sender } from "../../sys/datagrams.ts";
import { systemTime } from "../../sys/time.ts";
import type { Answers } from "../core/transport/answers.ts";
import { MAX_DATAGRAM_BYTES } from "../core/transport/config.ts";
import { Demultiplexer } from "../core/transport/demultiplexer.ts";
import type { Channel } from "./channel.ts";

/** Datagrams a system call. */
const BATCH = 64;
/** Batches before the loop looks at something else. */
const MAX_BATCHES = 4;

export class Wire {
  /** A bound UDP socket that never waits. */
  readonly socket: number;
  private readonly receiver = new Receiver(BATCH, MAX_DATAGRAM_BYTES + 1);
  private readonly sender = new Sender(1, MAX_DATAGRAM_BYTES);
  private readonly demultiplexer: Demultiplexer<Channel>;
  /** Place in the batch of the datagram that is being handled. */
  private place = 0;
  private nowMicros = 0;

  constructor(socket: number, channels: readonly Channel[], answers: Answers) {
    this.socket = socket;
    this.demultiplexer = new Demultiplexer(answers);
    for (const channel of channels) this.demultiplexer.add(channel);
  }

  /** Some of what was to leave waits: look when the socket is writable. */
  get isBlocked(): boolean {
    return this.demultiplexer.all.some((channel) => channel.isBlocked);
  }

  /** Takes what has come. */
  receive(): void {
    for (let batch = 0; batch < MAX_BATCHES; batch++) {
      const count = this.receiver.receive(this.socket);
      if (count > 0) this.takeBatch(count);
      if (count < BATCH) return;
    }
  }

  private takeBatch(count: number): void {
    const { demultiplexer, receiver } = this;
    for (const channel of demultiplexer.all) channel.beginBatch();
    // One reading of the clock serves a batch: it was all there.
    this.nowMicros = systemTime.nowMicros();
    for (let i = 0; i < count; i++) {
      this.place = i;
      const reply = demultiplexer.dispatch(receiver.datagram(i), this.nowMicros, this.hand);
      if (reply !== null) this.answer(reply);
    }
    for (const channel of demultiplexer.all) channel.endBatch(receiver);
  }

  private readonly hand = (channel: Channel, datagram: Uint8Array) =>
    channel.take(datagram, this.receiver, this.place, this.nowMicros);

  /** To a stranger; lost when the kernel has no room for it. */
  private answer(reply: Uint8Array): void {
    this.sender.push(reply, this.receiver.source(this.place));
    this.sender.flush(this.socket, () => {});
  }
}

/** The wires of these channels; a socket is one wire, whoever is on it. */
export function wiresOf(
  channels: readonly { readonly socket: number; readonly channel: Channel }[],
  answers: Answers,
): Wire[] {
  const bySocket = new Map<number, Channel[]>();
  for (const { socket, channel } of channels) {
    bySocket.set(socket, [...(bySocket.get(socket) ?? []), channel]);
  }
  return [...bySocket].map(([socket, members]) => new Wire(socket, members, answers));
}
