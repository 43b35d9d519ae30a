/**
 * `kill -9` of a file server under several writers, again and again on one store: after each mount,
 * every step that was acknowledged is there, whether or not an fsync followed it (the log was handed
 * to the kernel), and the one under way is there whole or not at all (`Model` says what that means).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Prng } from "../../../lib/prng.ts";
import type { MountedStore } from "../mounted-store.ts";
import { inCheckout } from "../paths.ts";
import { Model, partsOf } from "./model.ts";

const WRITER = inCheckout("dist/test/conformance/kill/writer.js");
const WRITERS = 4;
/** The server dies after so many acknowledgements, at least. */
const FEWEST_STEPS = 40;
const MORE_STEPS = 600;

interface Round {
  readonly steps: number;
  /** Writers whose step under way was there. */
  readonly unacknowledged: number;
}

export class KillLoop {
  private readonly store: MountedStore;
  private readonly folders: { readonly path: string; model: Model }[];
  private readonly random: Prng;

  constructor(store: MountedStore, seed: number) {
    this.store = store;
    this.random = new Prng(seed);
    this.folders = Array.from({ length: WRITERS }, (_, i) => {
      const path = store.at(`writer-${i}`);
      return { path, model: Model.make(path) };
    });
  }

  /** Throws with what is missing or wrong. `meanwhile` runs beside the writers. */
  async round(meanwhile: () => Promise<void> = () => Promise.resolve()): Promise<Round> {
    const seeds = this.folders.map(() => this.random.u32());
    const enough = FEWEST_STEPS + this.random.below(MORE_STEPS);
    const writers = this.folders.map(({ path }, i) => new Writer(path, seeds[i] ?? 0));
    await Promise.all([someSteps(writers, enough), meanwhile()]);
    await this.store.killServer();
    // Not detached before they have seen it: they would look for their files below the mount.
    await Promise.all(writers.map((writer) => writer.ended));
    await this.store.detach();
    await this.store.check();
    await this.store.mount();
    const steps = writers.reduce((sum, { done }) => sum + done, 0);
    const ahead = this.folders.filter((folder, i) => {
      const { model, ahead: isAhead } = verify(folder, seeds[i] ?? 0, writers[i]?.done ?? 0);
      folder.model = model;
      return isAhead;
    });
    return { steps, unacknowledged: ahead.length };
  }
}

/** The folder's model, brought to what is there. */
function verify(
  folder: { readonly path: string; readonly model: Model },
  seed: number,
  done: number,
): { model: Model; ahead: boolean } {
  const { path, model } = folder;
  const random = new Prng(seed);
  for (let i = 0; i < done; i++) model.apply(model.next(random));
  const acknowledged = model.difference(path);
  if (acknowledged === undefined) return { model, ahead: false };
  const step = model.next(random);
  let ahead: string | undefined;
  for (const part of partsOf(step)) {
    model.apply(part);
    ahead = model.difference(path);
    if (ahead === undefined) return { model, ahead: true };
  }
  throw new Error(
    `${path}, seed ${seed}, after ${done} steps: ${acknowledged}; and with the ${step.do} under way: ${ahead}`,
  );
}

class Writer {
  /** Steps acknowledged. */
  done = 0;
  readonly ended: Promise<void>;
  private readonly process: ChildProcess;
  private onStep: () => void = () => undefined;

  constructor(folder: string, seed: number) {
    const child = spawn(process.execPath, [WRITER, folder, String(seed)], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.process = child;
    let words = "";
    child.stderr.on("data", (chunk: Buffer) => {
      words += chunk.toString();
    });
    createInterface({ input: child.stdout }).on("line", () => {
      this.done++;
      this.onStep();
    });
    this.ended = new Promise((resolve, reject) => {
      child.once("close", (code) =>
        code === 0 ? resolve() : reject(new Error(`the writer in ${folder} failed: ${words}`)),
      );
    });
    // Whoever waits for steps hears of it; whoever waits for the end hears of it again.
    this.ended.catch(() => this.onStep());
  }

  /** After each step, and when it fails. */
  set stepped(listener: () => void) {
    this.onStep = listener;
  }

  get failed(): boolean {
    return this.process.exitCode !== null && this.process.exitCode !== 0;
  }
}

async function someSteps(writers: readonly Writer[], enough: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const look = (): void => {
      const steps = writers.reduce((sum, { done }) => sum + done, 0);
      if (steps >= enough || writers.some(({ failed }) => failed)) resolve();
    };
    for (const writer of writers) writer.stepped = look;
  });
}
