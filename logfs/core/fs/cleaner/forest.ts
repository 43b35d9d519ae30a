/**
 * Several trees that have most of their nodes in common, walked as one: a node is visited once, by its
 * address, whichever trees have it. So what snapshots have in common costs as much for hundreds of
 * them as for one. Only the ways to some keys are walked.
 *
 * A node's bounds may differ between two trees, its items do not: those of them that are looked for are
 * within the bounds in every tree that has the node.
 */
import type { LogReader } from "../../log/api.ts";
import { addressKey } from "../address-key.ts";
import type { Node, NodeReference } from "../node.ts";
import { decodeNode } from "../node-codec.ts";
import { readLog } from "../reading-log.ts";
import type { Key } from "../relocation.ts";
import { ALL_KEYS, type KeyBounds, type KeySpans } from "./key-ranges.ts";

/** What a node takes in memory, of its block's bytes. */
const NODE_FACTOR = 3;

/** Nodes by address, as many as fit; nobody changes them. */
export class NodeReader {
  private readonly log: Pick<LogReader, "read">;
  private readonly limitBytes: number;
  private readonly nodes = new Map<string, Node>();
  private bytes = 0;

  constructor(log: Pick<LogReader, "read">, limitBytes: number) {
    this.log = log;
    this.limitBytes = limitBytes;
  }

  /** Rejects with what the log rejects, DAMAGED. */
  async read(reference: NodeReference, level: number): Promise<Node> {
    const key = addressKey(reference);
    const known = this.nodes.get(key);
    if (known !== undefined) {
      // The last of the map is the newest.
      this.nodes.delete(key);
      this.nodes.set(key, known);
      return known;
    }
    const block = await readLog(this.log, reference, reference.length);
    const node = decodeNode(new Uint8Array(block), reference, level);
    this.nodes.set(key, node);
    this.bytes += NODE_FACTOR * node.bytes;
    this.trim();
    return node;
  }

  private trim(): void {
    for (const [key, node] of this.nodes) {
      if (this.bytes <= this.limitBytes) return;
      this.nodes.delete(key);
      this.bytes -= NODE_FACTOR * node.bytes;
    }
  }
}

export interface Root {
  readonly reference: NodeReference;
  readonly level: number;
}

/** What is made of a node, from what was made of its children: null of those that were not visited. */
export type Visit<T> = (
  node: Node,
  reference: NodeReference,
  children: readonly (T | null)[],
) => T | Promise<T>;

export class ForestWalk<T> {
  private readonly reader: NodeReader;
  private readonly spans: KeySpans;
  private readonly visit: Visit<T>;
  private readonly made = new Map<string, T>();

  constructor(reader: NodeReader, spans: KeySpans, visit: Visit<T>) {
    this.reader = reader;
    this.spans = spans;
    this.visit = visit;
  }

  /** Visits what of a tree was not visited yet, children first. Rejects with what reading rejects. */
  walk({ reference, level }: Root): Promise<T> {
    return this.node(reference, level, ALL_KEYS);
  }

  private async node(reference: NodeReference, level: number, bounds: KeyBounds): Promise<T> {
    const key = addressKey(reference);
    const known = this.made.get(key);
    if (known !== undefined) return known;
    const node = await this.reader.read(reference, level);
    const children: (T | null)[] = [];
    for (const [i, { reference: child }] of node.children.entries()) {
      const within = boundsOf(node, i, bounds);
      const isWanted = this.spans.meets(within);
      children.push(child !== null && isWanted ? await this.node(child, level - 1, within) : null);
    }
    const made = await this.visit(node, reference, children);
    this.made.set(key, made);
    return made;
  }
}

function boundsOf(node: Node, index: number, { lower, upper }: KeyBounds): KeyBounds {
  const next = index + 1;
  return {
    lower: index === 0 ? lower : keyAt(node, index),
    upper: next < node.highs.length ? keyAt(node, next) : upper,
  };
}

function keyAt(node: Node, index: number): Key {
  return { high: node.highs[index] as number, low: node.lows[index] as number };
}
