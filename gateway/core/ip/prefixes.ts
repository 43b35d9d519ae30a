/**
 * Which peer an address belongs to: prefixes as people write them ("10.2.0.0/16", "fd00:2::/48"),
 * and a table that finds the longest one that an address is in.
 *
 * Text is parsed once, when the configuration is read. A table holds at most MAX_PREFIXES, so that
 * a look-up, which goes through them from the longest on, stays cheap.
 */
import { SmfsError } from "../../../lib/errors.ts";

export const MAX_PREFIXES = 256;

export interface Prefix {
  readonly text: string;
  /** 4 or 16 bytes in the order of the wire. */
  readonly address: Uint8Array;
  /** Bits that count. */
  readonly bits: number;
}

/** An address alone is the prefix of that one host. Throws `SmfsError` CONFIG. */
export function parsePrefix(text: string): Prefix {
  const [address = "", length, ...rest] = text.split("/");
  const bytes = parseIpv4(address) ?? parseIpv6(address);
  const bits = length === undefined ? (bytes?.length ?? 0) * 8 : Number(length);
  const isNumber = length === undefined || /^\d{1,3}$/.test(length);
  if (bytes === null || rest.length > 0 || !isNumber || bits > bytes.length * 8) {
    const form = "an address and its bits such as 10.2.0.0/16 or fd00:2::/48";
    throw new SmfsError("CONFIG", `'${text}' is not ${form}`);
  }
  return { text, address: bytes, bits };
}

function parseIpv4(text: string): Uint8Array | null {
  const parts = text.split(".");
  const isRight = parts.length === 4 && parts.every((p) => /^\d{1,3}$/.test(p) && Number(p) < 256);
  return isRight ? Uint8Array.from(parts, Number) : null;
}

/** RFC 4291 §2.2, its three forms. */
function parseIpv6(text: string): Uint8Array | null {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const tail = dotted === null ? null : parseIpv4(dotted[2] ?? "");
  if (dotted !== null && tail === null) return null;
  const plain = tail === null ? text : `${dotted?.[1]}${groupsOfBytes(tail)}`;
  const halves = plain.split("::");
  const [front = [], back] = halves.map(groupsOf);
  if (halves.length > 2 || front === null || back === null) return null;
  const missing = 8 - front.length - (back?.length ?? 0);
  if (back === undefined ? missing !== 0 : missing < 1) return null;
  const groups = [...front, ...Array<number>(missing).fill(0), ...(back ?? [])];
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

function groupsOfBytes(bytes: Uint8Array): string {
  const [a = 0, b = 0, c = 0, d = 0] = bytes;
  return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}

/** Null when one of them is no group. */
function groupsOf(text: string): number[] | null {
  if (text === "") return [];
  const parts = text.split(":");
  const isRight = parts.every((part) => /^[0-9a-f]{1,4}$/i.test(part));
  return isRight ? parts.map((part) => Number.parseInt(part, 16)) : null;
}

/** Whether the address at `at` is in the prefix. */
export function isInPrefix(prefix: Prefix, bytes: Uint8Array, at: number): boolean {
  const { address, bits } = prefix;
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (bytes[at + i] !== address[i]) return false;
  const rest = bits & 7;
  if (rest === 0) return true;
  return ((bytes[at + whole] ?? 0) ^ (address[whole] ?? 0)) >> (8 - rest) === 0;
}

export class PrefixTable<T> {
  private readonly rows: readonly { readonly prefix: Prefix; readonly value: T }[];

  /** Throws `SmfsError` CONFIG for too many, or for one that two have. */
  constructor(entries: readonly { readonly prefix: Prefix; readonly value: T }[]) {
    if (entries.length > MAX_PREFIXES) {
      throw new SmfsError("CONFIG", `${entries.length} prefixes; ${MAX_PREFIXES} is the most`);
    }
    this.rows = entries.toSorted((a, b) => b.prefix.bits - a.prefix.bits);
    for (const [i, { prefix }] of this.rows.entries()) {
      if (this.rows.slice(0, i).some((row) => isSame(row.prefix, prefix))) {
        throw new SmfsError("CONFIG", `${prefix.text} is given twice`);
      }
    }
  }

  /** Of the longest prefix that the address is in; null when it is in none. */
  find(bytes: Uint8Array, at: number, addressBytes: 4 | 16): T | null {
    for (const { prefix, value } of this.rows) {
      if (prefix.address.length === addressBytes && isInPrefix(prefix, bytes, at)) return value;
    }
    return null;
  }
}

function isSame(a: Prefix, b: Prefix): boolean {
  return a.bits === b.bits && a.address.length === b.address.length && isInPrefix(a, b.address, 0);
}
