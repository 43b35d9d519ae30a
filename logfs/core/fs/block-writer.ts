/**
 * Puts blocks into the bodies of `nodes` (or `keptNodes`) records, several to a record, and tells each
 * one's place when its record is appended. When the checkpoint then fails, nothing refers to what was written.
 */
import type { LogWriter } from "../log/api.ts";
import { KIND } from "../log/format.ts";
import type { NodeReference } from "./node.ts";

/** Body of one `nodes` record at most: it passes the WAN and memory like any other record. */
const NODES_BODY_BYTES = 2 ** 20;

interface Pending {
  readonly block: Uint8Array;
  /** CRC-32C of the block. */
  readonly checksum: number;
  readonly placed: (reference: NodeReference) => void;
}

export class BlockWriter {
  private readonly log: Pick<LogWriter, "append">;
  private readonly kind: number;
  private pending: Pending[] = [];
  private pendingBytes = 0;

  constructor(log: Pick<LogWriter, "append">, kind: number = KIND.nodes) {
    this.log = log;
    this.kind = kind;
  }

  /** `placed` is called when the block is in the log: now, or at `flush`. Throws what the log throws. */
  add(block: Uint8Array, checksum: number, placed: Pending["placed"]): void {
    if (this.pendingBytes + block.length > NODES_BODY_BYTES) this.flush();
    this.pending.push({ block, checksum, placed });
    this.pendingBytes += block.length;
  }

  /** Throws what the log throws. */
  flush(): void {
    const { pending } = this;
    if (pending.length === 0) return;
    this.pending = [];
    this.pendingBytes = 0;
    const blocks = pending.map(({ block }) => block);
    const at = this.log.append(this.kind, 0, blocks, () => {}, { privileged: true });
    let offset = at.bodyOffset;
    for (const { block, checksum, placed } of pending) {
      placed({ segment: at.segment, offset, length: block.length, checksum });
      offset += block.length;
    }
  }
}
