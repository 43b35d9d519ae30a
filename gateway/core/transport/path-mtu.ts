/**
 * Packetization-layer path-MTU discovery for datagrams (DPLPMTUD, RFC 8899), without I/O.
 *
 * All sizes are bytes of UDP payload. `bytes` is what packets may have now (PLPMTU). It begins at a
 * base that IPv6 promises, and grows when a probe, a padded ping, is answered: the largest size is
 * tried first, so a path that takes it costs one round trip, and then the search halves. The size in
 * use is probed again once a second, and at once when acks stay away; when several such probes fail
 * in a row the path has a black hole, and the size falls to the base, or from there to the least.
 *
 * Invariants: one probe is out at a time. A probe fails only when something smaller that left no
 * earlier has arrived (a companion, a plain ping, sees to it): an outage shrinks nothing. A size above `bytes` is never used by data.
 */

/** RFC 8899 §5.1.2: BASE_PLPMTU for UDP; fits the 1280 bytes of IPv6 with room for a tunnel. */
export const BASE_BYTES = 1200;
/** Probes of one size, larger than what is in use, before it counts as too large (MAX_PROBES). */
const MAX_PROBES = 3;
/** The same for the size in use: six losses in a row are rare on every path that is worth using. */
const MAX_CONFIRMATIONS = 6;
/** Failed confirmations that make the size in use doubtful. */
const DOUBTFUL_CONFIRMATIONS = 2;
/** A probe that is unanswered while nothing else is answered either is repeated this often. */
const OUTAGE_MICROS = 1_000_000;
/** PMTU_RAISE_TIMER */
const RAISE_MICROS = 600_000_000;
/** The search ends when less than this could be won, bytes. */
const STEP_BYTES = 8;

export type PathMtuState = "base" | "searching" | "complete" | "error";

export interface PathMtuOptions {
  /** Never less, whatever the path does. */
  readonly leastBytes: number;
  /** What the operator allows. */
  readonly mostBytes: number;
  /** Time between confirmations of the size in use, microseconds. */
  readonly confirmMicros: number;
}

export class PathMtu {
  private readonly leastBytes: number;
  private readonly mostBytes: number;
  private readonly baseBytes: number;
  private readonly periodMicros: number;
  /** The largest size that may still pass. */
  private ceilingBytes: number;
  /** The next search begins at the ceiling instead of halving. */
  private triesCeiling = true;
  private isConfirmed = false;
  /** The probe that is out: its size, 0 for none, and when it left. */
  private probeBytes = 0;
  private probeMicros = 0;
  /** Of the size in use, and of the size being tried. */
  private failedConfirmations = 0;
  private failedProbes = 0;
  private confirmMicros: number;
  private searchMicros: number;
  /** When the youngest packet left of which is known that it arrived. */
  private aliveMicros = -Infinity;
  /** A plain ping must leave with each probe. After an answer the first goes alone. */
  needsCompanion = true;
  bytes: number;
  blackHoles = 0;

  constructor({ leastBytes, mostBytes, confirmMicros }: PathMtuOptions, nowMicros: number) {
    this.leastBytes = leastBytes;
    this.mostBytes = mostBytes;
    this.periodMicros = confirmMicros;
    this.baseBytes = Math.min(BASE_BYTES, mostBytes);
    this.bytes = this.baseBytes;
    this.ceilingBytes = mostBytes;
    this.confirmMicros = nowMicros + this.periodMicros;
    this.searchMicros = nowMicros;
  }

  get state(): PathMtuState {
    if (this.bytes < this.baseBytes) return "error";
    if (!this.isConfirmed) return "base";
    return this.isSearching ? "searching" : "complete";
  }

  private get isSearching(): boolean {
    const isWorthIt = this.ceilingBytes - this.bytes >= STEP_BYTES;
    // The operator's bound itself is always worth a probe.
    return isWorthIt || (this.triesCeiling && this.ceilingBytes > this.bytes);
  }

  /** Packets as long as ours may not arrive any more: smaller ones prove nothing. */
  get isDoubtful(): boolean {
    return this.failedConfirmations >= DOUBTFUL_CONFIRMATIONS;
  }

  /** Acks stay away: confirms the size in use as soon as no probe is out. */
  suspect(nowMicros: number): void {
    // It is being looked into.
    if (this.needsCompanion) return;
    this.confirmMicros = Math.min(this.confirmMicros, nowMicros);
  }

  /** A packet arrived that left at `sentMicros`. */
  noteAlive(sentMicros: number): void {
    this.aliveMicros = Math.max(this.aliveMicros, sentMicros);
  }

  /** The size of the probe that leaves now, or 0. `timeoutMicros`: for how long one is waited for. */
  poll(nowMicros: number, timeoutMicros: number): number {
    if (this.probeBytes !== 0) {
      if (nowMicros < this.probeMicros + timeoutMicros) return 0;
      this.fail(nowMicros);
    }
    const size = this.dueSize(nowMicros);
    this.probeBytes = size;
    this.probeMicros = nowMicros;
    return size;
  }

  private dueSize(nowMicros: number): number {
    if (this.confirmMicros <= nowMicros) return this.bytes;
    if (this.searchMicros > nowMicros) return 0;
    if (!this.isSearching) this.raise();
    return this.isSearching ? this.candidateBytes : 0;
  }

  /** What was too large may pass by now. */
  private raise(): void {
    this.ceilingBytes = this.mostBytes;
    this.triesCeiling = true;
    if (!this.isSearching) this.searchMicros = Infinity;
  }

  private get candidateBytes(): number {
    if (this.triesCeiling) return this.ceilingBytes;
    return this.bytes + Math.ceil((this.ceilingBytes - this.bytes) / 2);
  }

  nextTimeoutMicros(timeoutMicros: number): number {
    if (this.probeBytes !== 0) return this.probeMicros + timeoutMicros;
    return Math.min(this.confirmMicros, this.searchMicros);
  }

  /** The peer says that a ping of `bytes`, sent at `sentMicros`, came whole. */
  noteAnswer(bytes: number, sentMicros: number, nowMicros: number): void {
    this.noteAlive(sentMicros);
    if (bytes !== this.probeBytes || sentMicros !== Math.round(this.probeMicros)) return;
    this.probeBytes = 0;
    this.needsCompanion = false;
    this.isConfirmed = true;
    this.confirmMicros = this.probeMicros + this.periodMicros;
    this.failedConfirmations = 0;
    if (bytes <= this.bytes) return;
    this.bytes = bytes;
    this.failedProbes = 0;
    this.triesCeiling = false;
    this.scheduleSearch(nowMicros);
  }

  private fail(nowMicros: number): void {
    const bytes = this.probeBytes;
    const wentAlone = !this.needsCompanion;
    this.probeBytes = 0;
    this.needsCompanion = true;
    const isConfirmation = bytes <= this.bytes;
    if (this.aliveMicros < Math.round(this.probeMicros)) {
      if (!wentAlone) this.waitOut(isConfirmation, nowMicros + OUTAGE_MICROS);
      return;
    }
    if (isConfirmation) this.failConfirmation(nowMicros);
    else this.failSearch(bytes, nowMicros);
  }

  private waitOut(isConfirmation: boolean, untilMicros: number): void {
    if (isConfirmation) this.confirmMicros = untilMicros;
    else this.searchMicros = untilMicros;
  }

  private failSearch(bytes: number, nowMicros: number): void {
    if (++this.failedProbes < MAX_PROBES) return;
    this.failedProbes = 0;
    this.ceilingBytes = bytes - 1;
    this.triesCeiling = false;
    this.scheduleSearch(nowMicros);
  }

  private scheduleSearch(nowMicros: number): void {
    this.searchMicros = this.isSearching ? nowMicros : nowMicros + RAISE_MICROS;
  }

  /** RFC 8899 §4.3. The size that failed is tried once more from below: bad luck costs little. */
  private failConfirmation(nowMicros: number): void {
    if (++this.failedConfirmations < MAX_CONFIRMATIONS) return;
    this.failedConfirmations = 0;
    if (this.bytes === this.leastBytes) {
      this.confirmMicros = nowMicros + this.periodMicros;
      return;
    }
    this.blackHoles++;
    this.fallTo(this.bytes > this.baseBytes ? this.baseBytes : this.leastBytes, nowMicros);
  }

  private fallTo(bytes: number, nowMicros: number): void {
    this.ceilingBytes = this.bytes;
    this.bytes = bytes;
    this.triesCeiling = true;
    this.isConfirmed = false;
    this.failedProbes = 0;
    this.confirmMicros = nowMicros;
    this.searchMicros = nowMicros;
  }

  /**
   * The system refused a datagram of `bytes` because the interface cannot carry it (EMSGSIZE). On a
   * socket of several peers it may be another's: only sizes that we use or try concern us.
   */
  noteTooLong(bytes: number, nowMicros: number): void {
    if (bytes <= this.leastBytes) return;
    if (bytes > this.bytes && bytes !== this.probeBytes) return;
    if (bytes <= this.bytes) {
      this.blackHoles++;
      this.fallTo(bytes > this.baseBytes ? this.baseBytes : this.leastBytes, nowMicros);
    }
    this.ceilingBytes = bytes - 1;
    this.triesCeiling = false;
    this.probeBytes = 0;
    this.failedProbes = 0;
    this.scheduleSearch(nowMicros);
  }
}
