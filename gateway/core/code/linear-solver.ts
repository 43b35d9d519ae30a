/**
 * Linear repairs, receiver's side (sliding windows and blocks): Gaussian elimination, one repair at
 * a time (RFC 8681 §6 leaves the method open).
 *
 * A row is an equation in GF(256): coefficients of missing packets, and the combination of their
 * symbols. Each row has a pivot, its oldest missing packet, with coefficient 1.
 * Steps for a repair: take its coefficients of what is missing; subtract the rows whose pivots it
 * names; if nothing is left it says nothing new; otherwise take what is known out of its symbol, make
 * its oldest coefficient the pivot, and subtract it from all rows that name the pivot. A row that
 * names nothing but its pivot is the pivot's symbol. A packet that arrives or is rebuilt elsewhere is
 * taken out of the rows that name it.
 *
 * Invariants: no row names another's pivot (reduced row echelon form), so a row is solved as soon as
 * it can be; the packets named lie within `COLUMNS` ids, and when the oldest falls out, only the row
 * whose pivot it is names it: dropping that loses nothing for the others.
 *
 * Bounds: memory is `ROWS` × two blocks; a repair costs at most (its members + 2 × `ROWS`) additions
 * of a block.
 */
import { MAX_WINDOW_PACKETS } from "./decoder-window.ts";
import { invert } from "./gf256.ts";
import { MAX_LINEAR_SPAN } from "./parameters.ts";
import type { Members, SolverHost } from "./repair-solver.ts";

/** Ids that rows may name at a time: twice what a repair spans, so that late ones still count. */
const COLUMNS = 2 * MAX_LINEAR_SPAN;
const ROWS = 512;
const NONE = -1;

/** Coefficient of member `n` of the repair in hand. */
export type Coefficients = (n: number) => number;

export class LinearSolver {
  private readonly host: SolverHost;
  private readonly firstBlock: number;
  /** Column (id mod COLUMNS) of the pivot of each row; NONE for a free row. */
  private readonly pivotOfRow = new Int32Array(ROWS).fill(NONE);
  private readonly rowOfPivot = new Int32Array(COLUMNS).fill(NONE);
  private readonly symbolBytes = new Uint16Array(ROWS);
  /** Rows in use, then the free ones. */
  private readonly rows = Int32Array.from({ length: ROWS }, (_, row) => row);
  private used = 0;
  /** Rows that may name nothing but their pivot now. */
  private readonly changed = new Uint8Array(ROWS);
  /** By row: how often it is subtracted from the repair in hand. */
  private readonly multiples = new Uint8Array(ROWS);
  private readonly coefficients = new Uint8Array(MAX_LINEAR_SPAN);
  /** Highest id that a repair covered. */
  private top = 0;
  private started = false;

  constructor(host: SolverHost) {
    this.host = host;
    this.firstBlock = host.window.blocks.reserve(2 * ROWS);
  }

  /** All members are inside the window, and something is missing from the first on. */
  handleRepair(
    members: Members,
    coefficients: Coefficients,
    repair: Uint8Array,
    headerBytes: number,
  ): void {
    this.advanceTo(members.first + (members.count - 1) * members.stride);
    // What fell out of the columns must not be named any more.
    if (!this.covers(members.first)) {
      this.host.statistics.unused++;
      return;
    }
    if (this.used === ROWS) this.dropOldest();
    const row = this.rows[this.used] as number;
    this.setCoefficients(row, members, coefficients);
    this.reduce(row);
    const pivot = this.oldestColumn(row);
    if (pivot === NONE) this.host.statistics.unused++;
    else if (this.setSymbol(row, members, repair, headerBytes)) this.insert(row, pivot);
    else this.host.statistics.inconsistentRepairs++;
  }

  handlePresent(id: number): void {
    if (this.used === 0 || !this.covers(id)) return;
    const column = columnOf(id);
    const owner = this.rowOfPivot[column] as number;
    if (owner === NONE) this.subtractKnown(id, column);
    else this.replacePivot(owner, id);
    this.takeSolved();
  }

  private covers(id: number): boolean {
    const behind = (this.top - id) | 0;
    return behind >= 0 && behind < COLUMNS;
  }

  private advanceTo(last: number): void {
    const ahead = (last - this.top) | 0;
    // A top that the window left long ago means that no such repair came for as long.
    const isStale = !this.started || ahead < -MAX_WINDOW_PACKETS;
    const steps = isStale ? COLUMNS : Math.min(ahead, COLUMNS);
    for (let n = 0; n < steps; n++) {
      const row = this.rowOfPivot[columnOf(this.top + 1 + n)] as number;
      if (row !== NONE) this.free(row);
    }
    if (isStale || ahead > 0) this.top = last >>> 0;
    this.started = true;
  }

  private setCoefficients(row: number, members: Members, coefficients: Coefficients): void {
    const { window } = this.host;
    const { blocks } = window;
    const block = this.coefficientBlock(row);
    blocks.clear(block);
    for (let n = 0; n < members.count; n++) {
      const id = members.first + n * members.stride;
      const coefficient = coefficients(n);
      this.coefficients[n] = coefficient;
      if (coefficient !== 0 && !window.has(id)) blocks.setByte(block, columnOf(id), coefficient);
    }
  }

  /** Subtracts rows until `row` names no other's pivot. No row names two pivots: one pass does. */
  private reduce(row: number): void {
    const { blocks } = this.host.window;
    const block = this.coefficientBlock(row);
    for (let i = 0; i < this.used; i++) {
      const other = this.rows[i] as number;
      const multiple = blocks.byteAt(block, this.pivotOfRow[other] as number);
      this.multiples[other] = multiple;
      if (multiple === 0) continue;
      blocks.addScaled(block, this.coefficientBlock(other), COLUMNS, multiple);
    }
  }

  /** The symbol of a reduced row. False when a member is longer than the longest can be. */
  private setSymbol(
    row: number,
    members: Members,
    repair: Uint8Array,
    headerBytes: number,
  ): boolean {
    const { blocks } = this.host.window;
    const block = this.symbolBlock(row);
    blocks.clear(block);
    blocks.storeRepair(block, repair, headerBytes);
    const bytes = repair.length - headerBytes;
    this.symbolBytes[row] = bytes;
    if (!this.subtractMembers(block, members, bytes)) return false;
    for (let i = 0; i < this.used; i++) {
      const other = this.rows[i] as number;
      const multiple = this.multiples[other] as number;
      if (multiple !== 0) this.addSymbol(row, other, multiple);
    }
    return true;
  }

  private subtractMembers(block: number, members: Members, bytes: number): boolean {
    const { window } = this.host;
    for (let n = 0; n < members.count; n++) {
      const coefficient = this.coefficients[n] as number;
      const id = members.first + n * members.stride;
      if (coefficient === 0 || !window.has(id)) continue;
      const known = window.blockOf(id);
      const knownBytes = window.blocks.symbolBytes(known);
      if (knownBytes > bytes) return false;
      window.blocks.addScaled(block, known, knownBytes, coefficient);
    }
    return true;
  }

  private addSymbol(row: number, other: number, multiple: number): void {
    const bytes = this.symbolBytes[other] as number;
    const { blocks } = this.host.window;
    blocks.addScaled(this.symbolBlock(row), this.symbolBlock(other), bytes, multiple);
    this.symbolBytes[row] = Math.max(bytes, this.symbolBytes[row] as number);
  }

  /** `row`, the first of the free ones, becomes part of the system. */
  private insert(row: number, pivot: number): void {
    this.used++;
    this.setPivot(row, pivot);
    this.takeSolved();
  }

  private setPivot(row: number, pivot: number): void {
    const { blocks } = this.host.window;
    const block = this.coefficientBlock(row);
    const inverse = invert(blocks.byteAt(block, pivot));
    if (inverse !== 1) {
      blocks.scale(block, COLUMNS, inverse);
      blocks.scale(this.symbolBlock(row), this.symbolBytes[row] as number, inverse);
    }
    this.pivotOfRow[row] = pivot;
    this.rowOfPivot[pivot] = row;
    this.changed[row] = 1;
    this.subtractFromOthers(row, pivot);
  }

  private subtractFromOthers(row: number, pivot: number): void {
    const { blocks } = this.host.window;
    for (let i = 0; i < this.used; i++) {
      const other = this.rows[i] as number;
      if (other === row) continue;
      const block = this.coefficientBlock(other);
      const multiple = blocks.byteAt(block, pivot);
      if (multiple === 0) continue;
      blocks.addScaled(block, this.coefficientBlock(row), COLUMNS, multiple);
      this.addSymbol(other, row, multiple);
      this.changed[other] = 1;
    }
  }

  /** `id` is known: out of all rows that name it, none of which has it as its pivot. */
  private subtractKnown(id: number, column: number): void {
    const { blocks } = this.host.window;
    for (let i = this.used - 1; i >= 0; i--) {
      const row = this.rows[i] as number;
      const coefficient = blocks.byteAt(this.coefficientBlock(row), column);
      if (coefficient === 0) continue;
      if (this.subtractSymbol(row, id, coefficient)) this.changed[row] = 1;
      else this.free(row);
      blocks.setByte(this.coefficientBlock(row), column, 0);
    }
  }

  /** False when the packet is longer than what the row combines. */
  private subtractSymbol(row: number, id: number, coefficient: number): boolean {
    const { window } = this.host;
    const known = window.blockOf(id);
    const bytes = window.blocks.symbolBytes(known);
    const fits = bytes <= (this.symbolBytes[row] as number);
    if (fits) window.blocks.addScaled(this.symbolBlock(row), known, bytes, coefficient);
    else this.host.statistics.inconsistentRepairs++;
    return fits;
  }

  /** `id`, the pivot of `row`, is known: the row gets the next oldest it names, or says nothing. */
  private replacePivot(row: number, id: number): void {
    const column = columnOf(id);
    const fits = this.subtractSymbol(row, id, 1);
    this.host.window.blocks.setByte(this.coefficientBlock(row), column, 0);
    const next = this.oldestColumn(row);
    if (!fits || next === NONE) {
      this.free(row);
      return;
    }
    this.rowOfPivot[column] = NONE;
    this.setPivot(row, next);
  }

  /** Of the packets that a row names, the oldest one's column; NONE when it names none. */
  private oldestColumn(row: number): number {
    return this.oldestColumnAfter(row, columnOf(this.top));
  }

  /** Columns go round: the one after the newest's is the oldest's. */
  private oldestColumnAfter(row: number, column: number): number {
    const { blocks } = this.host.window;
    const block = this.coefficientBlock(row);
    const end = columnOf(this.top) + 1;
    let from = column + 1;
    if (from >= end) {
      const found = blocks.firstNonZero(block, from, COLUMNS);
      if (found < COLUMNS) return found;
      from = 0;
    }
    const found = blocks.firstNonZero(block, from, end);
    return found < end ? found : NONE;
  }

  private takeSolved(): void {
    for (let i = this.used - 1; i >= 0; i--) {
      const row = this.rows[i] as number;
      if (this.changed[row] === 0) continue;
      this.changed[row] = 0;
      const pivot = this.pivotOfRow[row] as number;
      if (this.namesOnlyPivot(row, pivot)) this.take(row, pivot);
    }
  }

  private namesOnlyPivot(row: number, pivot: number): boolean {
    return pivot === columnOf(this.top) || this.oldestColumnAfter(row, pivot) === NONE;
  }

  private take(row: number, pivot: number): void {
    const { window, statistics } = this.host;
    const { blocks } = window;
    const id = (this.top - ((this.top - pivot) & (COLUMNS - 1))) >>> 0;
    const bytes = this.symbolBytes[row] as number;
    const block = this.symbolBlock(row);
    const isSymbol = blocks.holdsSymbol(block, bytes);
    this.free(row);
    if (!isSymbol) statistics.inconsistentRepairs++;
    // It may have left the window, or been rebuilt by another kind of repair just now.
    if (!isSymbol || window.isBehind(id) || window.has(id)) return;
    blocks.copy(window.blockOf(id), block, blocks.symbolBytes(block));
    window.mark(id);
    this.host.noteRebuilt(id);
  }

  private dropOldest(): void {
    let oldest = 0;
    let farthest = -1;
    for (let i = 0; i < this.used; i++) {
      const row = this.rows[i] as number;
      const behind = (this.top - (this.pivotOfRow[row] as number)) & (COLUMNS - 1);
      if (behind <= farthest) continue;
      farthest = behind;
      oldest = row;
    }
    this.free(oldest);
  }

  private free(row: number): void {
    this.rowOfPivot[this.pivotOfRow[row] as number] = NONE;
    this.pivotOfRow[row] = NONE;
    this.changed[row] = 0;
    const at = this.rows.indexOf(row);
    this.used--;
    this.rows[at] = this.rows[this.used] as number;
    this.rows[this.used] = row;
  }

  private coefficientBlock(row: number): number {
    return this.firstBlock + 2 * row;
  }

  private symbolBlock(row: number): number {
    return this.firstBlock + 2 * row + 1;
  }
}

function columnOf(id: number): number {
  return id & (COLUMNS - 1);
}
