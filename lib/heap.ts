/** A binary min-heap; ties leave in the order they came, so that simulations replay exactly. */
export class Heap<T> {
  private readonly keys: number[] = [];
  private readonly orders: number[] = [];
  private readonly items: T[] = [];
  private nextOrder = 0;

  get size(): number {
    return this.items.length;
  }

  /** The smallest key, or Infinity when empty. */
  get minKey(): number {
    return this.keys[0] ?? Infinity;
  }

  /** What `pop` would give. */
  get min(): T | undefined {
    return this.items[0];
  }

  push(key: number, item: T): void {
    this.keys.push(key);
    this.orders.push(this.nextOrder++);
    this.items.push(item);
    this.siftUp(this.items.length - 1);
  }

  pop(): T | undefined {
    const last = this.items.length - 1;
    if (last < 0) return undefined;
    this.swap(0, last);
    const item = this.items.pop();
    this.keys.pop();
    this.orders.pop();
    this.siftDown(0);
    return item;
  }

  private before(i: number, j: number): boolean {
    const a = this.keys[i] as number;
    const b = this.keys[j] as number;
    return a < b || (a === b && (this.orders[i] as number) < (this.orders[j] as number));
  }

  private siftUp(start: number): void {
    let i = start;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!this.before(i, parent)) return;
      this.swap(i, parent);
      i = parent;
    }
  }

  private siftDown(start: number): void {
    let i = start;
    for (;;) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2]) {
        if (child < this.items.length && this.before(child, least)) least = child;
      }
      if (least === i) return;
      this.swap(i, least);
      i = least;
    }
  }

  private swap(i: number, j: number): void {
    for (const list of [this.keys, this.orders, this.items] as unknown[][]) {
      [list[i], list[j]] = [list[j], list[i]];
    }
  }
}
