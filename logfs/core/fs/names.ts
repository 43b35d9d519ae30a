/**
 * Names in directories: what a name may be, and where its entry stands.
 *
 * An entry's low is hash45(name) × 256 + slot. Names whose hashes collide take the next free slot
 * of their bucket; a bucket that is full answers ENOSPC. An entry never moves, so `low + 3` is its
 * readdir cookie: stable while others come and go, and 0, 1 and 2 stay free for the start, "." and
 * ".." of front-ends. The hash is seeded per volume (`nameSeed`), so nobody can fill a bucket
 * without having read the seed.
 */
import { equalBytes } from "../../../lib/bytes.ts";
import { fail } from "../../../lib/errors.ts";
import { NAME_MAX } from "../vfs.ts";
import type { ItemView, Transaction } from "./api.ts";
import { decodeEntry, encodeEntry, type Entry, ITEM, keyOf } from "./items.ts";

/** Slots of one hash value. */
export const BUCKET_SLOTS = 256;
const COOKIE_OFFSET = 3;
/** Keeps the greatest cookie below 2^53. */
const HASH_MAX = 2 ** 45 - 2;
const SLASH = 0x2f;
const DOT = 0x2e;

/** Throws EINVAL or ENAMETOOLONG for what cannot be a directory entry. */
export function checkName(name: Uint8Array): void {
  if (name.length > NAME_MAX) fail("ENAMETOOLONG");
  if (name.length === 0 || isDot(name) || isDotDot(name)) fail("EINVAL");
  for (const byte of name) if (byte === 0 || byte === SLASH) fail("EINVAL");
}

export function isDotDot(name: Uint8Array): boolean {
  return name.length === 2 && name[0] === DOT && name[1] === DOT;
}

function isDot(name: Uint8Array): boolean {
  return name.length === 1 && name[0] === DOT;
}

/** 0 … 2^45 − 2: two 32-bit multiply-xorshift streams, each finished as MurmurHash3's fmix32. */
export function hashName(name: Uint8Array, seed: number): number {
  let a = seed ^ 0x9e3779b9;
  let b = Math.imul(seed, 0x85ebca6b) ^ name.length;
  for (const byte of name) {
    a = Math.imul(a ^ byte, 0x01000193);
    a ^= a >>> 15;
    b = Math.imul(b ^ byte, 0x5bd1e995);
    b ^= b >>> 13;
  }
  const high = finish(a ^ b) * 8192;
  return Math.min(HASH_MAX, high + (finish(b) >>> 19));
}

function finish(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

export interface FoundEntry extends Entry {
  readonly low: number;
}

export function findEntry(
  view: ItemView,
  directory: number,
  seed: number,
  name: Uint8Array,
): FoundEntry | undefined {
  const bucket = hashName(name, seed) * BUCKET_SLOTS;
  let found: FoundEntry | undefined;
  view.scan(keyOf(directory, ITEM.entry), bucket, bucket + BUCKET_SLOTS, (low, value) => {
    const entry = decodeEntry(value);
    if (equalBytes(entry.name, name)) found = { ...entry, low };
    return found === undefined;
  });
  return found;
}

/** The name must not be there yet. */
export function insertEntry(
  transaction: Transaction,
  directory: number,
  seed: number,
  entry: Entry,
): void {
  const high = keyOf(directory, ITEM.entry);
  const low = freeSlot(transaction, high, hashName(entry.name, seed) * BUCKET_SLOTS);
  transaction.put(high, low, encodeEntry(entry));
}

/** The first free low at or behind `bucket`; ENOSPC when all its slots are taken. */
export function freeSlot(view: ItemView, high: number, bucket: number): number {
  let free = bucket;
  view.scan(high, bucket, bucket + BUCKET_SLOTS, (low) => {
    if (low === free) free++;
    return low === free - 1;
  });
  if (free === bucket + BUCKET_SLOTS) fail("ENOSPC");
  return free;
}

export function isEmptyDirectory(view: ItemView, directory: number): boolean {
  let empty = true;
  view.scan(keyOf(directory, ITEM.entry), 0, Number.MAX_SAFE_INTEGER, () => (empty = false));
  return empty;
}

export interface Listed extends Entry {
  readonly cookie: number;
}

/** Up to `limit` entries behind `cookie`; their names are copies. */
export function listEntries(
  view: ItemView,
  directory: number,
  cookie: number,
  limit: number,
): Listed[] {
  const from = Math.max(0, cookie - COOKIE_OFFSET + 1);
  const entries: Listed[] = [];
  view.scan(keyOf(directory, ITEM.entry), from, Number.MAX_SAFE_INTEGER, (low, value) => {
    const { inode, type, name } = decodeEntry(value);
    entries.push({ inode, type, name: name.slice(), cookie: low + COOKIE_OFFSET });
    return entries.length < limit;
  });
  return entries;
}
