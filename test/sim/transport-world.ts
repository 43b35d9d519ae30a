/**
 * Two associations and the path between them in virtual time: the production code, netem's link as
 * the network, and seeded cryptography, so that one seed is one history.
 */
import type { CryptoPort } from "../../lib/ports.ts";
import { Prng } from "../../lib/prng.ts";
import { Association } from "../../gateway/core/transport/association.ts";
import { MAX_DATAGRAM_BYTES, type TransportConfig } from "../../gateway/core/transport/config.ts";
import type { LinkHandler } from "../../gateway/core/transport/link.ts";
import type { MessageHandler } from "../../gateway/core/transport/messages.ts";
import type { StreamHandler } from "../../gateway/core/transport/streams.ts";
import { nodeCrypto } from "../../gateway/udp/crypto.ts";
import { EmulatedLink } from "../../netem/core/link.ts";
import { IDEAL_LINK, type LinkChanges } from "../../netem/core/settings.ts";

export const KEY = new Uint8Array(32).fill(7);
const WALL_OFFSET_MICROS = 1_700_000_000_000_000;
const MAX_STEPS = 20_000_000;

/** A cheap stand-in for AES-GCM with the same contract: tampering is noticed, nothing is secret. */
export function seededCrypto(prng: Prng): CryptoPort {
  return {
    ...nodeCrypto,
    randomBytes: (length) => prng.fill(new Uint8Array(length)),
    seal(key, nonce, associated, plain, out) {
      out.set(plain);
      writeTag(out, plain.length, tagOf(key, nonce, associated, plain));
      return plain.length + 16;
    },
    open(key, nonce, associated, sealed, out) {
      const length = sealed.length - 16;
      if (length < 0) return -1;
      const plain = sealed.subarray(0, length);
      const tag = new Uint8Array(16);
      writeTag(tag, 0, tagOf(key, nonce, associated, plain));
      for (let i = 0; i < 16; i++) if (tag[i] !== sealed[length + i]) return -1;
      out.set(plain);
      return length;
    },
  };
}

function writeTag(out: Uint8Array, at: number, tag: number): void {
  for (let i = 0; i < 16; i++) out[at + i] = Math.imul(tag, 2 * i + 1) >>> 24;
}

function tagOf(...parts: readonly Uint8Array[]): number {
  let hash = 0x811c9dc5;
  for (const part of parts) {
    const words = part.length & ~3;
    const view = new DataView(part.buffer, part.byteOffset, part.byteLength);
    for (let i = 0; i < words; i += 4) hash = Math.imul(hash ^ view.getUint32(i), 0x01000193);
    for (let i = words; i < part.length; i++) hash = Math.imul(hash ^ (part[i] ?? 0), 0x01000193);
    hash ^= hash >>> 15;
  }
  return hash;
}

/** A byte stream in which every place has its own value, so that order and loss show. */
function patternAt(offset: number): number {
  return Math.imul(offset + 1, 0x9e3779b1) >>> 24;
}

/** One side: its association, and what its user saw. */
export class Side implements LinkHandler {
  readonly link: Association;
  readonly events: string[] = [];
  receivedOffset = 0;
  /** Bytes that were not what the pattern has at their place. */
  wrongBytes = 0;
  ups = 0;
  /** When `safeOffset` or `acknowledgedOffset` grew. */
  onProgressHook: () => void = () => {};
  private toWrite = 0;

  constructor(
    role: "initiator" | "responder",
    crypto: CryptoPort,
    key: Uint8Array,
    config: Partial<TransportConfig>,
    users: { messages?: MessageHandler; streams?: StreamHandler },
    nowMicros: number,
    wallOffsetMicros = WALL_OFFSET_MICROS,
  ) {
    const options = {
      role,
      crypto,
      key,
      config,
      handler: this,
      ...users,
      wallOffsetMicros,
    };
    this.link = new Association(options, nowMicros);
  }

  /** Writes `bytes` more of the pattern as room appears. */
  write(bytes: number): void {
    this.toWrite += bytes;
    this.fill();
  }

  private fill(): void {
    while (this.toWrite > 0 && this.link.writableBytes > 0) {
      const length = Math.min(this.toWrite, this.link.writableBytes, 65536);
      const start = this.link.writtenOffset;
      this.link.write(Uint8Array.from({ length }, (_, i) => patternAt(start + i)));
      this.toWrite -= length;
    }
  }

  onUp(): void {
    this.ups++;
    this.receivedOffset = 0;
    this.events.push("up");
    this.fill();
  }

  onDown(code: string, reason: string): void {
    this.events.push(`${code}: ${reason}`);
  }

  onData(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (byte !== patternAt(this.receivedOffset++)) this.wrongBytes++;
    }
  }

  onWritable(): void {
    this.fill();
  }

  onProgress(): void {
    this.onProgressHook();
  }
}

export interface WorldOptions {
  readonly seed: number;
  /** Each direction's path, on top of a cable of no length. */
  readonly path?: LinkChanges;
  readonly config?: Partial<TransportConfig>;
  readonly responderKey?: Uint8Array;
  /** Of A and of B. */
  readonly messages?: readonly [MessageHandler, MessageHandler];
  readonly streams?: readonly [StreamHandler, StreamHandler];
}

/** A datagram on its way. */
type Datagram = Uint8Array;

export class World {
  nowMicros = 0;
  a: Side;
  b: Side;
  readonly aToB: EmulatedLink<Datagram>;
  readonly bToA: EmulatedLink<Datagram>;
  /** Every datagram that A sent, when on. */
  recorded: Datagram[] | null = null;
  readonly prng: Prng;
  private wallOffsetMicros = WALL_OFFSET_MICROS;
  private isDead = false;
  private readonly options: WorldOptions;
  private readonly buffer = new Uint8Array(MAX_DATAGRAM_BYTES);

  constructor(options: WorldOptions) {
    this.options = options;
    this.prng = new Prng(options.seed);
    const settings = { ...IDEAL_LINK, delayMicros: 1000, rateBitsPerSecond: 1e9, ...options.path };
    this.aToB = new EmulatedLink(settings, new Prng(this.prng.u32()), (bytes) => bytes.slice());
    this.bToA = new EmulatedLink(settings, new Prng(this.prng.u32()), (bytes) => bytes.slice());
    this.a = this.makeSide("initiator", KEY);
    this.b = this.makeSide("responder", options.responderKey ?? KEY);
  }

  private makeSide(role: "initiator" | "responder", key: Uint8Array): Side {
    const crypto = seededCrypto(this.prng);
    const { config = {}, messages, streams } = this.options;
    const index = role === "initiator" ? 0 : 1;
    const users = {
      ...(messages === undefined ? {} : { messages: messages[index] }),
      ...(streams === undefined ? {} : { streams: streams[index] }),
    };
    return new Side(role, crypto, key, config, users, this.nowMicros, this.wallOffsetMicros);
  }

  restartResponder(): void {
    this.b = this.makeSide("responder", KEY);
  }

  /** Its wall clock may have been set meanwhile. */
  restartInitiator(wallJumpMicros = 0): void {
    this.wallOffsetMicros += wallJumpMicros;
    this.a = this.makeSide("initiator", KEY);
  }

  /** A stranger's datagram reaches B now; the answer goes to A. */
  inject(datagram: Uint8Array): void {
    this.b.link.handleDatagram(datagram, this.nowMicros);
    this.answer(this.b, this.bToA);
  }

  /** A dies: what is on the wire travels on. */
  killInitiator(): void {
    this.isDead = true;
  }

  /** Runs until `done` or until virtual time has come to `untilMicros`; whether it was done. */
  run(untilMicros: number, done: () => boolean = () => false): boolean {
    for (let step = 0; step < MAX_STEPS; step++) {
      this.deliver(this.aToB, this.b, this.bToA);
      if (!this.isDead) this.deliver(this.bToA, this.a, this.aToB);
      this.pump(this.b, this.bToA);
      if (!this.isDead) this.pump(this.a, this.aToB);
      if (done()) return true;
      const next = this.nextMicros();
      if (next > untilMicros) {
        this.nowMicros = untilMicros;
        return false;
      }
      this.nowMicros = Math.max(this.nowMicros, Math.ceil(next));
    }
    throw new Error(`seed ${this.options.seed}: virtual time does not get on`);
  }

  private nextMicros(): number {
    return Math.min(
      this.aToB.nextTimeoutMicros(),
      this.isDead ? Infinity : this.bToA.nextTimeoutMicros(),
      this.b.link.nextTimeoutMicros(),
      this.isDead ? Infinity : this.a.link.nextTimeoutMicros(),
    );
  }

  private deliver(path: EmulatedLink<Datagram>, to: Side, back: EmulatedLink<Datagram>): void {
    for (;;) {
      const datagram = path.poll(this.nowMicros);
      if (datagram === null) return;
      to.link.handleDatagram(datagram, this.nowMicros);
      this.answer(to, back);
    }
  }

  private answer(from: Side, path: EmulatedLink<Datagram>): void {
    const length = from.link.pollReply(this.buffer);
    if (length > 0) path.send(this.buffer.slice(0, length), length, this.nowMicros);
  }

  private pump(side: Side, path: EmulatedLink<Datagram>): void {
    side.link.handleTimeout(this.nowMicros);
    for (;;) {
      const length = side.link.pollTransmit(this.buffer, this.nowMicros);
      if (length === 0) break;
      const datagram = this.buffer.slice(0, length);
      if (side === this.a) this.recorded?.push(datagram);
      path.send(datagram, length + 28, this.nowMicros);
    }
    side.link.noteLeft();
  }

  /** What a failing test says. */
  describe(): string {
    const side = ({ link, events }: Side): string =>
      JSON.stringify({
        events,
        ...link.statistics,
        safe: link.safeOffset,
        written: link.writtenOffset,
      });
    return `seed ${this.options.seed} at ${this.nowMicros} µs\nA ${side(this.a)}\nB ${side(this.b)}`;
  }
}
