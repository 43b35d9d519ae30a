/**
 * The codes side by side at equal overhead, three repairs for eight data packets: what is left lost,
 * how late what was lost comes back, and what it costs.
 *
 * Time is counted in data packets: a packet is late by the packets that left between it and the one
 * (or the repair behind it) that brought it back. No reordering, no jitter; the wire carries each
 * packet's repairs directly behind it, and loss meets data and repairs alike.
 */
import type { CodeParameters } from "../gateway/core/code/code.ts";
import { ErasureDecoder } from "../gateway/core/code/decoder.ts";
import { ErasureEncoder } from "../gateway/core/code/encoder.ts";
import { Prng } from "../lib/prng.ts";
import { LossProcess } from "../netem/core/loss.ts";
import type { Loss } from "../netem/core/settings.ts";

export interface NamedCode {
  readonly name: string;
  readonly parameters: CodeParameters;
}

export interface ComparisonOptions {
  /** Data packets through each code and link. */
  readonly packets: number;
  /** Data packets in each measurement of time. */
  readonly timedPackets: number;
  readonly seed: number;
}

const layered = (...interleave: number[]): NamedCode => ({
  name: `layered (${interleave.join(", ")})`,
  parameters: { kind: "layered", r: 8, interleave },
});
const sliding = (window: number, density: number): NamedCode => ({
  name: `RLC W=${window}${density === 16 ? "" : `, density ${density}/16`}`,
  parameters: { kind: "sliding-window", r: 8, c: 3, window, density },
});
const block = (k: number, interleave = 1): NamedCode => ({
  name: `RS (${k}, ${(3 * k) / 8})${interleave === 1 ? "" : ` × ${interleave}`}`,
  parameters: { kind: "block", k, m: (3 * k) / 8, interleave },
});

export const CODES: readonly NamedCode[] = [
  layered(1, 10, 100),
  layered(1, 8, 64),
  layered(1, 20, 200),
  layered(1, 30, 300),
  sliding(64, 16),
  sliding(128, 16),
  sliding(400, 16),
  sliding(400, 8),
  sliding(400, 4),
  sliding(400, 2),
  sliding(400, 1),
  block(8),
  block(8, 34),
  block(64),
  block(128),
];

const independent = (percent: number) => ({
  name: `independent ${percent} %`,
  x: percent,
  loss: { kind: "independent", share: percent / 100 } as Loss,
});
const bursts = (meanPackets: number) => ({
  name: `bursts of ${meanPackets}, 1 %`,
  x: meanPackets,
  loss: { kind: "bursts", share: 0.01, meanPackets } as Loss,
});

export const LINKS = [
  ...[0.1, 0.5, 1, 2, 5, 10].map(independent),
  ...[5, 10, 20, 50, 100].map(bursts),
] as const;
type LinkUnderTest = (typeof LINKS)[number];

export interface Outcome {
  readonly code: string;
  readonly link: string;
  readonly kind: Loss["kind"];
  /** Per cent lost, or mean length of bursts. */
  readonly x: number;
  readonly lostPackets: number;
  /** Of the lost packets. */
  readonly notRebuiltShare: number;
  /** Of those that were rebuilt, data packets. */
  readonly meanDelay: number;
  readonly p99Delay: number;
}

export interface Cost {
  readonly code: string;
  /** Processor time per data packet of 1,400 bytes, microseconds. */
  readonly encodeMicros: number;
  readonly decodeMicrosWithoutLoss: number;
  readonly decodeMicrosAtOnePercent: number;
  readonly decodeMicrosInBursts: number;
}

/** Packets at the end that are not judged: their repairs may not have left. */
const TAIL_PACKETS = 4096;
const SHORT_PACKET_BYTES = 16;
const LONG_PACKET_BYTES = 1400;
/** Distinct packets, so that the source stays in the cache as a socket's buffers do. */
const SOURCES = 64;

export function compare(codes: readonly NamedCode[], options: ComparisonOptions) {
  return {
    outcomes: codes.flatMap((code) => simulate(code, options)),
    costs: codes.map((code) => costOf(code, options)),
  };
}

/** One encoder's packets, over all links at once. */
function simulate(
  { name, parameters }: NamedCode,
  { packets, seed }: ComparisonOptions,
): Outcome[] {
  const receivers = LINKS.map((link, index) => new Receiver(link, packets, seed + index));
  const sources = sourcesOf(SHORT_PACKET_BYTES, seed);
  send(parameters, sources, packets, (id, bytes, latest) => {
    for (const receiver of receivers) receiver.handle(id, bytes, latest);
  });
  return receivers.map((receiver) => receiver.outcome(name));
}

/** Calls `onPacket` for each packet on the wire; `id` is −1 for a repair, `latest` the last data. */
function send(
  parameters: CodeParameters,
  sources: readonly Uint8Array[],
  packets: number,
  onPacket: (id: number, bytes: Uint8Array, latest: number) => void,
): void {
  const encoder = new ErasureEncoder({ parameters, idleMicros: Infinity });
  const out = new Uint8Array(encoder.repairBytes(sources[0]?.length ?? 0));
  for (let id = 0; id < packets; id++) {
    const packet = sources[id % SOURCES] as Uint8Array;
    encoder.push(id, packet, id);
    onPacket(id, packet, id);
    for (let n = encoder.poll(out, id); n > 0; n = encoder.poll(out, id)) {
      onPacket(-1, n === out.length ? out : out.subarray(0, n), id);
    }
  }
}

class Receiver {
  private readonly link: LinkUnderTest;
  private readonly losses: LossProcess;
  private readonly decoder = new ErasureDecoder();
  private readonly judged: number;
  private lost = 0;
  private readonly delays: number[] = [];

  constructor(link: LinkUnderTest, packets: number, seed: number) {
    this.link = link;
    this.losses = new LossProcess(link.loss, new Prng(seed));
    this.judged = packets - Math.min(TAIL_PACKETS, packets / 2);
  }

  handle(id: number, bytes: Uint8Array, latest: number): void {
    if (this.losses.next()) {
      if (id >= 0 && id < this.judged) this.lost++;
      return;
    }
    if (id < 0) this.decoder.handleRepair(bytes);
    else this.decoder.handleData(id, bytes);
    for (let one = this.decoder.pollRebuilt(); one !== null; one = this.decoder.pollRebuilt()) {
      if (one.id < this.judged) this.delays.push(latest - one.id);
    }
  }

  outcome(code: string): Outcome {
    const { name: link, x, loss } = this.link;
    const sorted = this.delays.toSorted((a, b) => a - b);
    return {
      code,
      link,
      kind: loss.kind,
      x,
      lostPackets: this.lost,
      notRebuiltShare: this.lost === 0 ? 0 : 1 - sorted.length / this.lost,
      meanDelay: sorted.reduce((sum, delay) => sum + delay, 0) / Math.max(1, sorted.length),
      p99Delay: sorted[Math.floor(0.99 * sorted.length)] ?? 0,
    };
  }
}

function costOf({ name, parameters }: NamedCode, { timedPackets, seed }: ComparisonOptions): Cost {
  const sources = sourcesOf(LONG_PACKET_BYTES, seed);
  const decodeMicros = (loss: Loss): number => {
    const arrived = wireOf(parameters, sources, timedPackets, loss, seed);
    return microsOf(() => decodeAll(arrived)) / timedPackets;
  };
  return {
    code: name,
    encodeMicros: microsOf(() => encodeAll(parameters, sources, timedPackets)) / timedPackets,
    decodeMicrosWithoutLoss: decodeMicros({ kind: "independent", share: 0 }),
    decodeMicrosAtOnePercent: decodeMicros({ kind: "independent", share: 0.01 }),
    decodeMicrosInBursts: decodeMicros({ kind: "bursts", share: 0.01, meanPackets: 20 }),
  };
}

export interface WirePacket {
  /** −1 for a repair. */
  readonly id: number;
  readonly bytes: Uint8Array;
}

/** What arrives of `packets` data packets and their repairs. */
export function wireOf(
  parameters: CodeParameters,
  sources: readonly Uint8Array[],
  packets: number,
  loss: Loss,
  seed: number,
): WirePacket[] {
  const losses = new LossProcess(loss, new Prng(seed));
  const arrived: WirePacket[] = [];
  send(parameters, sources, packets, (id, bytes) => {
    if (!losses.next()) arrived.push({ id, bytes: id < 0 ? bytes.slice() : bytes });
  });
  return arrived;
}

export function encodeAll(
  parameters: CodeParameters,
  sources: readonly Uint8Array[],
  packets: number,
): void {
  send(parameters, sources, packets, () => {});
}

export function decodeAll(wire: readonly WirePacket[]): void {
  const decoder = new ErasureDecoder();
  for (const { id, bytes } of wire) {
    if (id < 0) decoder.handleRepair(bytes);
    else decoder.handleData(id, bytes);
    while (decoder.pollRebuilt() !== null);
  }
}

const ROUNDS = 4;

/** Processor time of a round, microseconds: the best of some, as others may be busy, too. */
export function microsOf(round: () => void): number {
  let best = Infinity;
  for (let i = 0; i < ROUNDS; i++) {
    const before = process.cpuUsage();
    round();
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, user + system);
  }
  return Math.max(1, best);
}

export function sourcesOf(packetBytes: number, seed: number): Uint8Array[] {
  const prng = new Prng(seed);
  return Array.from({ length: SOURCES }, () => prng.fill(new Uint8Array(packetBytes)));
}
