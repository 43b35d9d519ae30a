/** Items of the tree in words: what an inode, an entry, an extent says. */
import { FsError, messageOf, SmfsError } from "../lib/errors.ts";
import {
  decodeEntry,
  decodeExtent,
  decodeInode,
  decodeOwners,
  decodeTruncation,
  decodeXattr,
  inodeOf,
  ITEM,
  kindOf,
  ORPHANS,
  sharedSegmentOf,
  TRUNCATIONS,
} from "../logfs/core/fs/items.ts";

export interface ItemInWords {
  /** Null for the volume's own items. */
  readonly inode: number | null;
  readonly kind: string;
  readonly low: number;
  /** What the value says; null for a deleted item. */
  readonly value: object | string | null;
}

/** `value` null: the item was deleted. What cannot be decoded says why. */
export function describeItem(high: number, low: number, value: Uint8Array | null): ItemInWords {
  const segment = sharedSegmentOf(high);
  if (segment !== undefined) {
    const owners = value === null ? null : tried(() => ({ segment, owners: decodeOwners(value) }));
    return { inode: null, kind: "shared", low, value: owners };
  }
  const kind = nameOfKind(high);
  const inode = high < FIRST_INODE_KEY ? null : inodeOf(high);
  return { inode, kind, low, value: value === null ? null : tried(() => valueOf(high, value)) };
}

/** Keys of inode 0 are the volume's. */
const FIRST_INODE_KEY = 16;

export function textOf({ inode, kind, low, value }: ItemInWords): string {
  const about = inode === null ? kind : `inode ${inode} ${kind}`;
  if (value === null) return `- ${about} ${low}`;
  return `${about} ${low}: ${typeof value === "string" ? value : fieldsOf(value)}`;
}

function fieldsOf(value: object): string {
  return Object.entries(value)
    .map(([name, field]) => `${name} ${typeof field === "object" ? JSON.stringify(field) : field}`)
    .join(", ");
}

function nameOfKind(high: number): string {
  const number = kindOf(high);
  return Object.entries(ITEM).find(([, one]) => one === number)?.[0] ?? `kind ${number}`;
}

function valueOf(high: number, value: Uint8Array): object | string {
  if (high === ORPHANS) return "without links";
  if (high === TRUNCATIONS) return { size: decodeTruncation(value) };
  switch (kindOf(high)) {
    case ITEM.attributes: {
      const { mode, ...item } = decodeInode(value);
      return { mode: `0${mode.toString(8)}`, ...item };
    }
    case ITEM.entry: {
      const { inode, type, name } = decodeEntry(value);
      return { name: printable(name), inode, type: `0${type.toString(8)}` };
    }
    case ITEM.symlink:
      return `-> ${printable(value)}`;
    case ITEM.xattr: {
      const { name, value: content } = decodeXattr(value);
      if (content.kind === "inline") return { name: printable(name), bytes: content.bytes.length };
      return { name: printable(name), ...content };
    }
    case ITEM.extent:
      return decodeExtent(value);
    default:
      return `${value.length} bytes`;
  }
}

function tried(describe: () => object | string): object | string {
  try {
    return describe();
  } catch (error) {
    if (!(error instanceof SmfsError) && !(error instanceof FsError)) throw error;
    return `DAMAGED: ${messageOf(error)}`;
  }
}

/** What a terminal would act on is shown as U+FFFD. */
export function printable(name: Uint8Array): string {
  return Buffer.from(name)
    .toString("utf8")
    .replaceAll(/\p{Cc}/gu, "\ufffd");
}
