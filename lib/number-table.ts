/**
 * A map from whole numbers to numbers for millions of entries, in typed arrays: some 30 bytes each,
 * nothing for the garbage collector to visit, and no moment at which all of it is moved. It is open
 * addressing with linear probing in shards, each of which grows and shrinks by itself.
 */

const SHARDS = 256;
const EMPTY_KEY = -1;
const LEAST_CAPACITY = 8;

export class NumberTable {
  private readonly shards: (Shard | undefined)[] = Array.from({ length: SHARDS });
  private entries = 0;

  get size(): number {
    return this.entries;
  }

  get(key: number): number | undefined {
    return this.shards[shardOf(key)]?.get(key);
  }

  /** `key`: whole and not negative. */
  set(key: number, value: number): void {
    const index = shardOf(key);
    const shard = this.shards[index] ?? new Shard();
    this.shards[index] = shard;
    if (shard.set(key, value)) this.entries++;
  }

  /** Gives whether it was there. */
  delete(key: number): boolean {
    const was = this.shards[shardOf(key)]?.delete(key) ?? false;
    if (was) this.entries--;
    return was;
  }

  clear(): void {
    this.shards.fill(undefined);
    this.entries = 0;
  }

  /** In no order. */
  keys(): number[] {
    return this.shards.flatMap((shard) => shard?.list() ?? []);
  }
}

class Shard {
  private keys = new Float64Array(LEAST_CAPACITY).fill(EMPTY_KEY);
  private values = new Float64Array(LEAST_CAPACITY);
  private entries = 0;

  get(key: number): number | undefined {
    const at = this.find(key);
    return this.keys[at] === key ? this.values[at] : undefined;
  }

  /** Gives whether the key is new. */
  set(key: number, value: number): boolean {
    const at = this.find(key);
    this.values[at] = value;
    if (this.keys[at] === key) return false;
    this.keys[at] = key;
    this.entries++;
    if (this.entries > 0.75 * this.keys.length) this.resize(2 * this.keys.length);
    return true;
  }

  delete(key: number): boolean {
    const at = this.find(key);
    if (this.keys[at] !== key) return false;
    this.keys[at] = EMPTY_KEY;
    this.entries--;
    this.close(at);
    const { length } = this.keys;
    if (length > LEAST_CAPACITY && this.entries < length / 8) this.resize(length / 2);
    return true;
  }

  list(): number[] {
    return [...this.keys].filter((key) => key !== EMPTY_KEY);
  }

  /** Where the key is, or would go. */
  private find(key: number): number {
    const mask = this.keys.length - 1;
    let at = slotOf(key) & mask;
    while (this.keys[at] !== key && this.keys[at] !== EMPTY_KEY) at = (at + 1) & mask;
    return at;
  }

  /** Entries behind a hole move up where a search would no longer find them (Knuth 6.4, algorithm R). */
  private close(start: number): void {
    const mask = this.keys.length - 1;
    let hole = start;
    for (let at = (hole + 1) & mask; this.keys[at] !== EMPTY_KEY; at = (at + 1) & mask) {
      const key = this.keys[at] as number;
      const wanted = slotOf(key) & mask;
      if (((at - wanted) & mask) < ((at - hole) & mask)) continue;
      this.keys[hole] = key;
      this.values[hole] = this.values[at] as number;
      this.keys[at] = EMPTY_KEY;
      hole = at;
    }
  }

  private resize(capacity: number): void {
    const { keys, values } = this;
    this.keys = new Float64Array(capacity).fill(EMPTY_KEY);
    this.values = new Float64Array(capacity);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as number;
      if (key === EMPTY_KEY) continue;
      const at = this.find(key);
      this.keys[at] = key;
      this.values[at] = values[i] as number;
    }
  }
}

/** Both halves of a number below 2^53, mixed (MurmurHash3's fmix32); the shard takes the low bits. */
function hashOf(key: number): number {
  let mixed = (key >>> 0) ^ Math.imul(Math.floor(key / 2 ** 32), 0x9e3779b1);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function shardOf(key: number): number {
  return hashOf(key) % SHARDS;
}

function slotOf(key: number): number {
  return Math.floor(hashOf(key) / SHARDS);
}
