/**
 * The erasure code alone: bytes of data per second through encoder and decoder, beside what this
 * machine copies and XORs in the same run, and what is left lost on several links.
 */
import { DEFAULT_CODE, type CodeParameters } from "../gateway/core/code.ts";
import { Blocks } from "../gateway/core/blocks.ts";
import { ErasureDecoder } from "../gateway/core/decoder.ts";
import { ErasureEncoder } from "../gateway/core/encoder.ts";
import { Prng } from "../lib/prng.ts";
import { LossProcess } from "../netem/core/loss.ts";
import type { Loss } from "../netem/core/settings.ts";

export interface FecBenchOptions {
  readonly parameters?: CodeParameters;
  readonly packetBytes?: number;
  /** Data packets in each measured round. */
  readonly packets?: number;
  readonly seed?: number;
}

interface Item {
  /** −1 for a repair. */
  readonly id: number;
  readonly bytes: Uint8Array;
}

const ROUNDS = 5;
/** Distinct packets, so that the source stays in the cache as a socket's buffers do. */
const SOURCES = 64;
const RESIDUAL_PACKETS = 100_000;
const RESIDUAL_PACKET_BYTES = 16;
const IDLE_MICROS = 1e9;

const LINKS: readonly { readonly name: string; readonly loss: Loss }[] = [
  { name: "independent 0.1 %", loss: { kind: "independent", share: 0.001 } },
  { name: "independent 1 %", loss: { kind: "independent", share: 0.01 } },
  { name: "independent 5 %", loss: { kind: "independent", share: 0.05 } },
  { name: "bursts of 8, 1 %", loss: { kind: "bursts", share: 0.01, meanPackets: 8 } },
  { name: "bursts of 32, 1 %", loss: { kind: "bursts", share: 0.01, meanPackets: 32 } },
];

/** Rates are bytes of data packets per second, the best of five rounds. */
export function run(options: FecBenchOptions = {}) {
  const { parameters = DEFAULT_CODE, packetBytes = 1400, packets = 16_384, seed = 1 } = options;
  const sources = sourcesOf(packetBytes, seed);
  const clean = encode(parameters, sources, packets);
  const lossy = lose(clean, { kind: "independent", share: 0.01 }, seed).arrived;
  const layers = parameters.kind === "layered" ? parameters.interleave.length : 1;
  const rates = bestRates(packets * packetBytes, {
    copy: () => copyAll(sources, packets),
    xorIntoEveryLayer: () => xorAll(sources, packets, layers),
    encoder: () => pushAll(parameters, sources, packets, () => {}),
    decoderWithoutLoss: () => decode(clean),
    decoderAtOnePercentLoss: () => decode(lossy),
  });
  return {
    parameters,
    packetBytes,
    bytesPerSecond: rates,
    encoderToXorRatio: rates.encoder / rates.xorIntoEveryLayer,
    residual: LINKS.map((link) => residualOf(parameters, link, seed)),
  };
}

function sourcesOf(packetBytes: number, seed: number): Uint8Array[] {
  const prng = new Prng(seed);
  return Array.from({ length: SOURCES }, () => prng.fill(new Uint8Array(packetBytes)));
}

/** Bytes per second of each, its best round. They take turns, so that noise meets all alike. */
function bestRates<Name extends string>(
  bytes: number,
  rounds: Record<Name, () => void>,
): Record<Name, number> {
  const names = Object.keys(rounds) as Name[];
  const best = Object.fromEntries(names.map((name) => [name, 0])) as Record<Name, number>;
  for (let i = 0; i < ROUNDS; i++) {
    for (const name of names) best[name] = Math.max(best[name], bytes / secondsOf(rounds[name]));
  }
  return best;
}

function secondsOf(round: () => void): number {
  const start = process.hrtime.bigint();
  round();
  return Number(process.hrtime.bigint() - start) / 1e9;
}

function copyAll(sources: readonly Uint8Array[], packets: number): void {
  const store = new Blocks(SOURCES);
  for (let n = 0; n < packets; n++) {
    store.storePacket(n % SOURCES, sources[n % SOURCES] as Uint8Array);
  }
}

/** The ceiling of the encoder: every packet XORed into one block per layer, and nothing else. */
function xorAll(sources: readonly Uint8Array[], packets: number, layers: number): void {
  const store = new Blocks(2 * SOURCES);
  for (const [index, source] of sources.entries()) store.storePacket(index, source);
  for (let n = 0; n < packets; n++) {
    const bytes = store.symbolBytes(n % SOURCES);
    for (let layer = 0; layer < layers; layer++) {
      store.xor(SOURCES + ((n * (layer + 1)) % SOURCES), n % SOURCES, bytes);
    }
  }
}

function pushAll(
  parameters: CodeParameters,
  sources: readonly Uint8Array[],
  packets: number,
  onRepair: (id: number, repair: Uint8Array) => void,
): void {
  const encoder = new ErasureEncoder({ parameters, idleMicros: IDLE_MICROS });
  const out = new Uint8Array(encoder.repairBytes(sources[0]?.length ?? 0));
  for (let id = 0; id < packets; id++) {
    encoder.push(id, sources[id % SOURCES] as Uint8Array, id);
    for (let n = encoder.poll(out, id); n > 0; n = encoder.poll(out, id)) {
      onRepair(id, out.subarray(0, n));
    }
  }
}

/** The wire in order: each data packet, then the repairs that were due behind it. */
function encode(
  parameters: CodeParameters,
  sources: readonly Uint8Array[],
  packets: number,
): Item[] {
  const wire: Item[] = [];
  const addDataThrough = (id: number): void => {
    for (let next = wire.findLast((item) => item.id >= 0)?.id ?? -1; next < id; ) {
      next++;
      wire.push({ id: next, bytes: sources[next % SOURCES] as Uint8Array });
    }
  };
  pushAll(parameters, sources, packets, (id, repair) => {
    addDataThrough(id);
    wire.push({ id: -1, bytes: repair.slice() });
  });
  addDataThrough(packets - 1);
  return wire;
}

function lose(wire: readonly Item[], loss: Loss, seed: number): { arrived: Item[]; lost: number } {
  const losses = new LossProcess(loss, new Prng(seed));
  const arrived = wire.filter(() => !losses.next());
  const data = (items: readonly Item[]) => items.filter((item) => item.id >= 0).length;
  return { arrived, lost: data(wire) - data(arrived) };
}

/** Data packets that were rebuilt. */
function decode(wire: readonly Item[]): number {
  const decoder = new ErasureDecoder();
  for (const { id, bytes } of wire) {
    if (id < 0) decoder.handleRepair(bytes);
    else decoder.handleData(id, bytes);
    while (decoder.pollRebuilt() !== null);
  }
  return decoder.statistics.rebuilt;
}

function residualOf(
  parameters: CodeParameters,
  { name, loss }: (typeof LINKS)[number],
  seed: number,
) {
  const sources = sourcesOf(RESIDUAL_PACKET_BYTES, seed);
  const { arrived, lost } = lose(encode(parameters, sources, RESIDUAL_PACKETS), loss, seed);
  const rebuilt = decode(arrived);
  return {
    link: name,
    lostPackets: lost,
    rebuiltPackets: rebuilt,
    notRebuiltShare: 1 - rebuilt / lost,
  };
}
