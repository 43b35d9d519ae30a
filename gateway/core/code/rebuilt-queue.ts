/**
 * Rebuilt ids, in the order they were rebuilt. Each is read twice: by the decoder, which tells the
 * solvers, and by the caller, who may come late. When the queue is full the oldest is forgotten.
 */
const CAPACITY = 4096;

export class RebuiltQueue {
  private readonly ids = new Uint32Array(CAPACITY);
  /** Ids ever pushed; told to the solvers; polled by the caller. */
  private pushed = 0;
  private told = 0;
  private polled = 0;

  push(id: number): void {
    this.ids[this.pushed++ % CAPACITY] = id;
    const oldest = this.pushed - CAPACITY;
    this.told = Math.max(this.told, oldest);
    this.polled = Math.max(this.polled, oldest);
  }

  /** The next id to tell the solvers of, or −1. */
  next(): number {
    return this.told < this.pushed ? (this.ids[this.told++ % CAPACITY] as number) : -1;
  }

  /** The next id for the caller, or −1. */
  poll(): number {
    return this.polled < this.pushed ? (this.ids[this.polled++ % CAPACITY] as number) : -1;
  }
}
