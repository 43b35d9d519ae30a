/**
 * Transparent mode, the receiving side: keeps the last packets that came from the peer's site, and
 * rebuilds from the peer's repairs those that did not come (SMFS §5: "a window consisting of the
 * last K IP packets that it has seen").
 *
 * A message names recent packets by id and fingerprint. Those that are in the window get their ids
 * and feed the decoder; the names of the others are kept, so that one that comes late feeds it, too.
 * A packet that came and whose names were lost is one more that the code has to do without.
 * What is rebuilt is compared with its own fingerprint where that is known, and the caller checks
 * the packet's own checksum: nothing is put back that the other gateway did not see leave.
 */
import { viewOf } from "../../../lib/codec.ts";
import { SmfsError } from "../../../lib/errors.ts";
import { MAX_PACKET_BYTES } from "../code/code.ts";
import { ErasureDecoder } from "../code/decoder.ts";
import { Fingerprinter, normalise } from "./fingerprint.ts";
import { FingerprintIndex } from "./fingerprint-index.ts";
import { LossMeter } from "../code/loss-meter.ts";
import {
  MAX_NAMES,
  MemberName,
  NamedRepair,
  TransparentReport,
  TRANSPARENT,
} from "./transparent-packets.ts";

/** Names by id, for what is rebuilt; a power of two. */
const NAMED_IDS = 16_384;
const UNKNOWN = 0;
const MISSING = 1;
const HAD = 2;

export interface IngressOptions {
  readonly secret: Uint8Array;
  /** Packets kept (the paper's K), and ids in the decoder's window; a power of two. */
  readonly windowPackets: number;
}

export class TransparentIngress {
  readonly statistics = {
    seenPackets: 0,
    namedPackets: 0,
    /** Named, and not there then. */
    missingPackets: 0,
    /** Of these, those that came after all. */
    latePackets: 0,
    rebuiltPackets: 0,
    /** Rebuilt, though it had come: its names were lost, or came later than the repair. */
    unneededPackets: 0,
    /** Rebuilt, and not what the fingerprint says. */
    wrongPackets: 0,
  };
  private readonly fingerprinter: Fingerprinter;
  private readonly seen: FingerprintIndex;
  private readonly packets: Uint8Array;
  private readonly lengths: Uint16Array;
  private readonly missing: FingerprintIndex;
  private readonly missingIds: Float64Array;
  private readonly decoder: ErasureDecoder;
  private readonly meter = new LossMeter();
  /** By id: what is known, its name, and the id itself (a slot is used again). */
  private readonly states = new Uint8Array(NAMED_IDS);
  private readonly ids = new Uint32Array(NAMED_IDS);
  private readonly highs = new Uint32Array(NAMED_IDS);
  private readonly lows = new Uint32Array(NAMED_IDS);
  /** Ids below were judged: lost or not. −1 before the first. */
  private judgedEnd = -1;

  constructor({ secret, windowPackets }: IngressOptions) {
    this.fingerprinter = new Fingerprinter(secret);
    this.seen = new FingerprintIndex(windowPackets);
    this.packets = new Uint8Array(windowPackets * MAX_PACKET_BYTES);
    this.lengths = new Uint16Array(windowPackets);
    this.missing = new FingerprintIndex(windowPackets);
    this.missingIds = new Float64Array(windowPackets).fill(-1);
    this.decoder = new ErasureDecoder({ windowPackets });
  }

  /** A copy of a packet that came from the peer's site. Longer ones than the code takes have no use. */
  noteSeen(packet: Uint8Array): void {
    if (packet.length > MAX_PACKET_BYTES) return;
    normalise(packet);
    const { fingerprinter } = this;
    fingerprinter.take(packet);
    this.statistics.seenPackets++;
    const entry = this.seen.add(fingerprinter.high, fingerprinter.low);
    this.packets.set(packet, entry * MAX_PACKET_BYTES);
    this.lengths[entry] = packet.length;
    const late = this.missing.find(fingerprinter.high, fingerprinter.low);
    if (late < 0) return;
    const id = this.missingIds[late] ?? -1;
    this.missingIds[late] = -1;
    if (id < 0) return;
    this.statistics.latePackets++;
    this.states[id & (NAMED_IDS - 1)] = HAD;
    this.decoder.handleData(id, packet);
  }

  /** A message that begins with TRANSPARENT.repair. Throws `SmfsError` for a malformed one. */
  handleRepair(message: Uint8Array): void {
    const view = viewOf(message);
    const { fresh, again, freshFirst, againFirst } = NamedRepair.decode(view, 0);
    const repairAt = NamedRepair.size + (fresh + again) * MemberName.size;
    if (fresh > MAX_NAMES || again > MAX_NAMES || repairAt > message.length) {
      throw new SmfsError("DAMAGED", "a repair with more names than there may be");
    }
    this.takeNames(view, NamedRepair.size, freshFirst, fresh);
    this.takeNames(view, NamedRepair.size + fresh * MemberName.size, againFirst, again);
    if (again > 0) this.judge((againFirst + again) >>> 0);
    if (repairAt < message.length) this.decoder.handleRepair(message.subarray(repairAt));
  }

  private takeNames(view: DataView, at: number, first: number, count: number): void {
    for (let k = 0; k < count; k++) {
      const { high, low } = MemberName.decode(view, at + k * MemberName.size);
      this.takeName((first + k) >>> 0, high, low);
    }
  }

  private takeName(id: number, high: number, low: number): void {
    const at = id & (NAMED_IDS - 1);
    if (this.states[at] !== UNKNOWN && this.ids[at] === id) return;
    this.ids[at] = id;
    this.highs[at] = high;
    this.lows[at] = low;
    this.statistics.namedPackets++;
    const entry = this.seen.find(high, low);
    if (entry >= 0) {
      this.states[at] = HAD;
      this.decoder.handleData(id, this.packetOf(entry));
      return;
    }
    this.states[at] = MISSING;
    this.statistics.missingPackets++;
    this.missingIds[this.missing.add(high, low)] = id;
  }

  /** Ids before `end` have had their time to come; those without a name tell nothing of loss. */
  private judge(end: number): void {
    const ahead = this.judgedEnd < 0 ? NAMED_IDS : (end - this.judgedEnd) | 0;
    if (ahead <= 0) return;
    const from = ahead >= NAMED_IDS ? (end - MAX_NAMES) >>> 0 : this.judgedEnd;
    for (let id = from; id !== end; id = (id + 1) >>> 0) {
      const at = id & (NAMED_IDS - 1);
      const isLost = this.ids[at] === id && this.states[at] === MISSING;
      if (!isLost) this.meter.push(id);
    }
    this.judgedEnd = end;
  }

  private packetOf(entry: number): Uint8Array {
    const start = entry * MAX_PACKET_BYTES;
    return this.packets.subarray(start, start + (this.lengths[entry] ?? 0));
  }

  /** The next rebuilt packet, normalised, valid until the next call; null for none. */
  pollRebuilt(): Uint8Array | null {
    for (;;) {
      const rebuilt = this.decoder.pollRebuilt();
      if (rebuilt === null) return null;
      const verdict = this.judgeRebuilt(rebuilt.id, rebuilt.packet);
      this.statistics[verdict]++;
      if (verdict === "rebuiltPackets") return rebuilt.packet;
    }
  }

  private judgeRebuilt(id: number, packet: Uint8Array) {
    const at = id & (NAMED_IDS - 1);
    const { fingerprinter } = this;
    fingerprinter.take(packet);
    const { high, low } = fingerprinter;
    const state = this.ids[at] === id ? this.states[at] : UNKNOWN;
    const isNamed = state !== UNKNOWN;
    const hasCome = isNamed ? state === HAD : this.seen.find(high, low) >= 0;
    if (hasCome) return "unneededPackets";
    const isRight = !isNamed || (this.highs[at] === high && this.lows[at] === low);
    return isRight ? "rebuiltPackets" : "wrongPackets";
  }

  /** Writes what the other side should know of its packets; the length. */
  writeReport(out: Uint8Array): number {
    const { namedPackets, missingPackets, latePackets, rebuiltPackets } = this.statistics;
    TransparentReport.encode(viewOf(out), 0, {
      kind: TRANSPARENT.report,
      namedPackets,
      lostPackets: missingPackets - latePackets,
      rebuiltPackets,
      ...this.meter.estimate(),
    });
    return TransparentReport.size;
  }
}
