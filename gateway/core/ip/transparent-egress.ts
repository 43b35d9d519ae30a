/**
 * Transparent mode, the sending side: numbers the packets that the kernel forwards to the peer's
 * site, encodes copies of them, and writes the repairs as messages that also name recent packets by
 * fingerprint (SMFS §5: the originals go unaltered, the redundant packets over a UDP channel).
 *
 * Ids begin at 0 and count packets that were taken; they wrap at 2^32. A packet that is longer than
 * a repair can carry is not protected, and counted: MTU headroom on the route avoids it.
 */
import { viewOf } from "../../../lib/codec.ts";
import { type CodeParameters, MAX_PACKET_BYTES } from "../code/code.ts";
import { ErasureEncoder } from "../code/encoder.ts";
import { Fingerprinter, normalise } from "./fingerprint.ts";
import { levelsOf } from "../code/parameters.ts";
import {
  MAX_NAMES,
  MemberName,
  NAMED_AGAIN_AFTER,
  NamedRepair,
  TRANSPARENT,
} from "./transparent-packets.ts";

/** Names that are kept: those not yet named twice, in a flood of packets without repairs too. */
const NAMES = 4096;
/** Ids after which coverage no longer waits for what a change of the code left out. */
const RELEASE_PACKETS = 16_384;
const NAME_BYTES = NamedRepair.size + 2 * MAX_NAMES * MemberName.size;

export interface EgressOptions {
  readonly code: CodeParameters;
  /** Of the two gateways, at least 8 bytes. */
  readonly secret: Uint8Array;
  /** Longest message that the association carries. */
  readonly messageBytes: number;
}

export class TransparentEgress {
  readonly statistics = { protectedPackets: 0, tooLongPackets: 0, repairs: 0 };
  private readonly encoder: ErasureEncoder;
  private readonly fingerprinter: Fingerprinter;
  /** May change at any time; repairs of longer packets from before may then be too long. */
  messageBytes: number;
  private readonly highs = new Uint32Array(NAMES);
  private readonly lows = new Uint32Array(NAMES);
  /** Counts without wrapping; ids are the lower 32 bits. */
  private pushed = 0;
  private namedOnce = 0;
  private namedTwice = 0;
  private readonly header = {
    kind: TRANSPARENT.repair,
    fresh: 0,
    again: 0,
    freshFirst: 0,
    againFirst: 0,
  };
  private readonly name = { high: 0, low: 0 };

  constructor({ code, secret, messageBytes }: EgressOptions) {
    this.encoder = new ErasureEncoder({ parameters: code });
    this.fingerprinter = new Fingerprinter(secret);
    this.messageBytes = messageBytes;
  }

  /** The longest packet that repairs of the present code can carry. */
  get packetBytes(): number {
    const room = this.messageBytes - NAME_BYTES - this.encoder.repairBytes(0);
    return Math.min(MAX_PACKET_BYTES, room);
  }

  get parameters(): CodeParameters {
    return this.encoder.parameters;
  }

  setParameters(code: CodeParameters, nowMicros: number): void {
    this.encoder.setParameters(code, nowMicros);
  }

  set idleMicros(micros: number) {
    this.encoder.idleMicros = micros;
  }

  /** A copy of a packet that leaves now; it is normalised in place. Its id, or −1 when too long. */
  push(packet: Uint8Array, nowMicros: number): number {
    if (packet.length > this.packetBytes) {
      this.statistics.tooLongPackets++;
      return -1;
    }
    normalise(packet);
    this.fingerprinter.take(packet);
    const slot = this.pushed & (NAMES - 1);
    this.highs[slot] = this.fingerprinter.high;
    this.lows[slot] = this.fingerprinter.low;
    const id = this.pushed >>> 0;
    this.pushed++;
    this.encoder.push(id, packet, nowMicros);
    if (this.pushed % RELEASE_PACKETS === 0) this.encoder.release((id - RELEASE_PACKETS) >>> 0);
    this.statistics.protectedPackets++;
    return id;
  }

  /** Writes the next message that is due; its length, or 0. Drained after every `push`. */
  poll(out: Uint8Array, nowMicros: number): number {
    const at = NamedRepair.size + this.namesDue * MemberName.size;
    const length = this.encoder.poll(out.subarray(at), nowMicros);
    if (length === 0) return 0;
    this.writeNames(out);
    this.statistics.repairs++;
    return at + length;
  }

  private get freshDue(): number {
    return Math.min(MAX_NAMES, this.pushed - Math.max(this.namedOnce, this.pushed - NAMES));
  }

  private get againDue(): number {
    const end = Math.min(this.namedOnce, this.pushed - NAMED_AGAIN_AFTER);
    return Math.max(0, Math.min(MAX_NAMES, end - this.againFirst));
  }

  /** The oldest that is named a second time; what fell out of the ring is not. */
  private get againFirst(): number {
    return Math.max(this.namedTwice, this.pushed - NAMES);
  }

  private get namesDue(): number {
    return this.freshDue + this.againDue;
  }

  private writeNames(out: Uint8Array): void {
    const view = viewOf(out);
    const { header } = this;
    const freshFirst = Math.max(this.namedOnce, this.pushed - NAMES);
    const { againFirst } = this;
    header.fresh = this.freshDue;
    header.again = this.againDue;
    header.freshFirst = freshFirst >>> 0;
    header.againFirst = againFirst >>> 0;
    NamedRepair.encode(view, 0, header);
    this.writeRange(view, NamedRepair.size, freshFirst, header.fresh);
    const at = NamedRepair.size + header.fresh * MemberName.size;
    this.writeRange(view, at, againFirst, header.again);
    this.namedOnce = freshFirst + header.fresh;
    this.namedTwice = againFirst + header.again;
  }

  private writeRange(view: DataView, at: number, first: number, count: number): void {
    for (let k = 0; k < count; k++) {
      const slot = (first + k) & (NAMES - 1);
      this.name.high = this.highs[slot] ?? 0;
      this.name.low = this.lows[slot] ?? 0;
      MemberName.encode(view, at + k * MemberName.size, this.name);
    }
  }

  nextTimeoutMicros(): number {
    return this.encoder.nextTimeoutMicros();
  }

  /** End of the ids given out, modulo 2^32. */
  get endId(): number {
    return this.pushed >>> 0;
  }

  get levels(): number {
    return levelsOf(this.encoder.parameters);
  }

  /** End of the ids that repairs cover at `level`, from 1, modulo 2^32. */
  coveredEnd(level: number): number {
    return (this.encoder.coveredThrough(level) + 1) >>> 0;
  }
}
