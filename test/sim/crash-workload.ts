/**
 * Random operations on a file system and its model, one after the other; now and then a sync whose
 * answer is not waited for. Every operation is one that must succeed; when it fails for want of space
 * or quota, or because the disk failed, it must have done nothing or everything.
 */
import { FsError, SmfsError } from "../../lib/errors.ts";
import type { Prng } from "../../lib/prng.ts";
import { ModelError, type ModelNode } from "../fs-model.ts";
import {
  type CrashHistory,
  lineOfQuota,
  linesOf,
  linesOfVfs,
  type Model,
  of,
} from "./crash-history.ts";
import { EVEN_MIX, type Mix, pickFrom } from "./crash-mix.ts";
import { type Done, type Machine, Operations } from "./crash-operations.ts";

const NEVER_OVER = Infinity;

/** Everything that a machine shows, snapshots and quota included. */
export async function linesOfMachine(machine: Machine): Promise<string[]> {
  const lines = await machine.wait(linesOfVfs(machine.fs));
  for (const [name, fs] of machine.snapshots()) {
    lines.push(...of(name, await machine.wait(linesOfVfs(fs))));
  }
  return [...lines, lineOfQuota(machine.quota)];
}

export class CrashWorkload {
  /** Operations refused for want of space, and of quota. */
  readonly refused = { space: 0, quota: 0 };
  private readonly prng: Prng;
  private readonly machine: Machine;
  private readonly history: CrashHistory;
  private readonly mix: Mix;
  private readonly operations: Operations;

  constructor(prng: Prng, machine: Machine, history: CrashHistory, mix: Mix = EVEN_MIX) {
    this.prng = prng;
    this.machine = machine;
    this.history = history;
    this.mix = mix;
    this.operations = new Operations(prng, machine, (node) => this.sync(node));
    this.operations.becomes(this.newest);
  }

  private get newest(): Model {
    return (this.history.states[this.history.newest] as { model: Model }).model;
  }

  /** False when the disk has failed: nothing more will succeed. */
  async run(operations: number): Promise<boolean> {
    for (let i = 0; i < operations; i++) {
      if (!(await this.step())) return false;
      if (this.prng.chance(0.5)) this.machine.breathe();
    }
    return true;
  }

  private async step(): Promise<boolean> {
    const what = pickFrom(this.mix, this.prng);
    try {
      const done = await this.operations.act(what);
      this.note(what, done);
      return true;
    } catch (error) {
      if (!(error instanceof ModelError)) return this.handleFailure(what, error);
      this.operations.becomes(this.newest);
      return true;
    }
  }

  private note(what: string, { touched, isDurable }: Done): void {
    const { history, machine } = this;
    const sequence = machine.headSequence();
    const inodes = touched.map(({ inode }) => inode);
    history.add(this.operations.now, sequence, what, inodes);
    const index = history.newest;
    machine.whenWritten(sequence, () => {
      history.written = Math.max(history.written, index);
    });
    if (isDurable) history.durable = index;
  }

  /** The file system says no, which is fine for a full or failed disk; then half a change is not. */
  private async handleFailure(what: string, error: unknown): Promise<boolean> {
    const code = error instanceof SmfsError || error instanceof FsError ? error.code : "";
    if (code === "IO") {
      // It began; what was to be durable at once may be found all the same.
      this.history.add(this.operations.now, NEVER_OVER, what, []);
      return false;
    }
    if (code === "EDQUOT") this.refused.quota++;
    else if (code === "NO_SPACE") this.refused.space++;
    else throw error;
    const shown = (await linesOfMachine(this.machine)).toSorted().join("\n");
    const after = this.operations.now;
    this.operations.becomes(this.newest);
    this.operations.forgetHandles();
    if (shown === textOf(this.newest)) return true;
    if (shown !== textOf(after)) throw new Error(`${what} was done by half`);
    this.operations.becomes(after);
    this.note(what, { touched: [], isDurable: false });
    return true;
  }

  private async sync(node: ModelNode): Promise<void> {
    const { history, machine, prng } = this;
    const index = history.touched.get(node.inode) ?? 0;
    const synced = machine.fs.fsync(node.inode, prng.pick(["data", "full"]));
    const acknowledge = (): void => {
      history.durable = Math.max(history.durable, index);
    };
    const answer = Promise.resolve(synced).then(acknowledge);
    if (prng.chance(0.4)) await machine.wait(answer);
    // A failure is the disk's: the next operation says so.
    else answer.catch(() => undefined);
  }
}

function textOf(model: Model): string {
  return linesOf(model).toSorted().join("\n");
}
