/**
 * The receiver's side of every code: the window of data packets, and the solvers that rebuild what is
 * missing from it. A repair says of which kind it is and what it is made of, so kinds and parameters
 * may change between any two packets; what one solver rebuilds helps the others.
 *
 * Invariant: with nothing but loss, duplication and reordering, a rebuilt packet equals what was
 * sent. Forged repairs are the business of whoever authenticates datagrams.
 *
 * Window rule: data that is further behind than the window is refused; data any distance ahead
 * moves the window (the sender went on during an outage). A repair moves it by at most half its
 * size, because it only runs ahead of data that was reordered or lost. The window is twice what the
 * widest repair so far says that the sender's code spans.
 *
 * Memory: the window's packets and what each solver reserves at its first repair; nothing is
 * allocated per packet.
 */
import { assert } from "../../../lib/assert.ts";
import { viewOf } from "../../../lib/codec.ts";
import { Blocks } from "./blocks.ts";
import type { Decoder } from "./code.ts";
import { cauchyCoefficient, randomCoefficient } from "./coefficients.ts";
import { DecoderWindow, MAX_WINDOW_PACKETS } from "./decoder-window.ts";
import { LayeredSolver } from "./layered-solver.ts";
import { LinearSolver } from "./linear-solver.ts";
import { RebuiltQueue } from "./rebuilt-queue.ts";
import {
  blockRepair,
  isPlausibleBlock,
  isPlausibleLayered,
  isPlausiblePayload,
  isPlausibleSlidingWindow,
  layeredRepair,
  REPAIR_HEADER_BYTES,
  REPAIR,
  slidingWindowRepair,
} from "./repair.ts";
import type { SolverHost } from "./repair-solver.ts";

export interface DecoderOptions {
  /** Data packets kept to begin with, a power of two. */
  readonly windowPackets?: number;
  /** The window never grows beyond this, a power of two. */
  readonly maxWindowPackets?: number;
  /** Layered repairs that may wait for members; the oldest is given up for a new one. */
  readonly waitingRepairs?: number;
}

const DEFAULT_WINDOW_PACKETS = 2048;
const DEFAULT_WAITING_REPAIRS = 1024;

export class ErasureDecoder implements Decoder, SolverHost {
  readonly statistics = {
    rebuilt: 0,
    unused: 0,
    malformed: 0,
    /** Data that was further behind than the window. */
    latePackets: 0,
    duplicatePackets: 0,
    /** Repairs whose result had an impossible length or bytes behind its end. */
    inconsistentRepairs: 0,
    /** Times that data came from more than a window ahead. */
    resynchronisations: 0,
  };
  readonly window: DecoderWindow;
  private readonly maxWindowPackets: number;
  private readonly waitingRepairs: number;
  private readonly queue = new RebuiltQueue();
  private layered: LayeredSolver | null = null;
  private linear: LinearSolver | null = null;
  private readonly headerBytes = new Uint8Array(REPAIR_HEADER_BYTES);
  private readonly headerView = viewOf(this.headerBytes);
  /** The repair in hand. */
  private readonly layeredHeader = layeredRepair.decode(this.headerView, 0);
  private readonly slidingHeader = slidingWindowRepair.decode(this.headerView, 0);
  private readonly blockHeader = blockRepair.decode(this.headerView, 0);
  private readonly members = { first: 0, count: 0, stride: 0 };
  private readonly rebuilt: { id: number; packet: Uint8Array } = {
    id: 0,
    packet: this.headerBytes,
  };

  constructor(options: DecoderOptions = {}) {
    const size = options.windowPackets ?? DEFAULT_WINDOW_PACKETS;
    this.maxWindowPackets = options.maxWindowPackets ?? MAX_WINDOW_PACKETS;
    assert(Number.isInteger(Math.log2(size)), "the decoder's window must be a power of two");
    this.waitingRepairs = options.waitingRepairs ?? DEFAULT_WAITING_REPAIRS;
    this.window = new DecoderWindow(new Blocks(0), size);
  }

  handleData(id: number, packet: Uint8Array): boolean {
    const { window } = this;
    if (window.isBehind(id)) {
      this.statistics.latePackets++;
      return false;
    }
    if (window.has(id)) {
      this.statistics.duplicatePackets++;
      return false;
    }
    const ahead = window.ahead(id);
    if (ahead > window.size) this.statistics.resynchronisations++;
    if (ahead > 0 || !window.isStarted) window.advanceTo(id, this.onEmptied);
    window.put(id, packet);
    this.propagate(id);
    return true;
  }

  handleRepair(repair: Uint8Array): void {
    this.readHeader(repair);
    switch (this.headerBytes[0] ?? 0) {
      case REPAIR.layered:
        return this.handleLayered(repair);
      case REPAIR.slidingWindow:
        return this.handleSlidingWindow(repair);
      case REPAIR.block:
        return this.handleBlock(repair);
      default:
        this.statistics.malformed++;
    }
  }

  pollRebuilt(): { readonly id: number; readonly packet: Uint8Array } | null {
    for (;;) {
      const id = this.queue.poll();
      if (id < 0) return null;
      // One that was polled too late may have left the window.
      if (!this.window.has(id)) continue;
      this.rebuilt.id = id;
      this.rebuilt.packet = this.window.blocks.packetView(this.window.blockOf(id));
      return this.rebuilt;
    }
  }

  noteRebuilt(id: number): void {
    this.statistics.rebuilt++;
    this.queue.push(id);
  }

  /** Longer than any header, or zeros: a repair that is too short fails by its payload's length. */
  private readHeader(repair: Uint8Array): void {
    for (let i = 0; i < this.headerBytes.length; i++) this.headerBytes[i] = repair[i] ?? 0;
  }

  private handleLayered(repair: Uint8Array): void {
    const header = this.layeredHeader;
    layeredRepair.decodeInto(this.headerView, 0, header);
    const isPlausible =
      isPlausiblePayload(repair.length - layeredRepair.size) && isPlausibleLayered(header);
    if (!isPlausible) this.statistics.malformed++;
    else if (this.reaches(header.first, header.count, header.stride, header.r)) {
      this.layered ??= new LayeredSolver(this, this.waitingRepairs);
      if (!this.layered.isNeeded(header)) this.statistics.unused++;
      else {
        this.moveTo(this.members);
        this.layered.handleRepair(header, repair);
        this.propagateRebuilt();
      }
    }
  }

  private handleSlidingWindow(repair: Uint8Array): void {
    const header = this.slidingHeader;
    slidingWindowRepair.decodeInto(this.headerView, 0, header);
    const isPlausible =
      isPlausiblePayload(repair.length - slidingWindowRepair.size) &&
      isPlausibleSlidingWindow(header);
    if (!isPlausible) this.statistics.malformed++;
    else if (this.reaches(header.first, header.count, 1, header.window)) {
      this.handleLinear(this.slidingCoefficient, repair, slidingWindowRepair.size);
    }
  }

  private handleBlock(repair: Uint8Array): void {
    const header = this.blockHeader;
    blockRepair.decodeInto(this.headerView, 0, header);
    const isPlausible =
      isPlausiblePayload(repair.length - blockRepair.size) && isPlausibleBlock(header);
    if (!isPlausible) this.statistics.malformed++;
    else if (this.reaches(header.first, header.count, header.stride, header.k)) {
      this.handleLinear(this.blockCoefficient, repair, blockRepair.size);
    }
  }

  private readonly slidingCoefficient = (n: number): number =>
    randomCoefficient(
      this.slidingHeader.seed,
      this.slidingHeader.count - 1 - n,
      this.slidingHeader.density,
    );
  private readonly blockCoefficient = (n: number): number =>
    cauchyCoefficient(this.blockHeader.index, n);

  private handleLinear(
    coefficients: (n: number) => number,
    repair: Uint8Array,
    headerBytes: number,
  ): void {
    const { members } = this;
    if (this.hasAll()) {
      this.statistics.unused++;
      return;
    }
    this.linear ??= new LinearSolver(this);
    this.moveTo(members);
    this.linear.handleRepair(members, coefficients, repair, headerBytes);
    this.propagateRebuilt();
  }

  private hasAll(): boolean {
    const { first, count, stride } = this.members;
    const { window } = this;
    if (window.isCompleteFrom(first)) return window.ahead(first + (count - 1) * stride) <= 0;
    for (let n = 0; n < count; n++) if (!window.has(first + n * stride)) return false;
    return true;
  }

  /**
   * Whether all members lie, or can lie, inside the window, which grows if the code needs it: a full
   * repair spans `full` × `stride`. Counts the repair if not.
   */
  private reaches(first: number, count: number, stride: number, full: number): boolean {
    this.members.first = first;
    this.members.count = count;
    this.members.stride = stride;
    this.makeRoomFor((full + 2) * stride);
    const { window } = this;
    const span = (count - 1) * stride;
    const ahead = window.ahead(first + span);
    if (span >= window.size || ahead > window.size / 2) {
      this.statistics.malformed++;
      return false;
    }
    const isTooLate = window.isBehind(first);
    if (isTooLate) this.statistics.unused++;
    return !isTooLate;
  }

  private makeRoomFor(span: number): void {
    const { window } = this;
    if (2 * span <= window.size || window.size >= this.maxWindowPackets) return;
    const size = Math.min(this.maxWindowPackets, 2 ** Math.ceil(Math.log2(2 * span)));
    window.grow(size);
    this.layered?.handleGrown();
  }

  /** The window comes to hold all members. */
  private moveTo({ first, count, stride }: { first: number; count: number; stride: number }): void {
    const last = first + (count - 1) * stride;
    if (this.window.isStarted && this.window.ahead(last) <= 0) return;
    this.window.advanceTo(last, this.onEmptied);
    this.window.noteHighestMissing();
  }

  private readonly onEmptied = (id: number): void => this.layered?.handleEmptied(id);

  /** `id` is there, and so may others be that follow from it. */
  private propagate(id: number): void {
    this.layered?.handlePresent(id);
    this.linear?.handlePresent(id);
    this.propagateRebuilt();
  }

  private propagateRebuilt(): void {
    for (let id = this.queue.next(); id >= 0; id = this.queue.next()) {
      this.layered?.handlePresent(id);
      this.linear?.handlePresent(id);
    }
  }
}
