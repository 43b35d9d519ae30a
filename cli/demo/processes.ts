/**
 * Child processes of a demonstration: started, waited for, and always ended, by id.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { SmfsError } from "../../lib/errors.ts";

const MAIN = fileURLToPath(new URL("../main.js", import.meta.url));
/** Last output of a process that is kept to explain its death, bytes. */
const KEPT_OUTPUT_BYTES = 8192;

export class Child {
  readonly name: string;
  readonly process: ChildProcess;
  readonly exited: Promise<void>;
  /** Ended, and everything that it wrote has been read. */
  readonly closed: Promise<void>;
  ended = false;
  private errors = "";
  private onLine: (line: string) => void = () => {};

  /** `launcher`: a command that runs the one that follows it, as setpriv(1) does. */
  constructor(
    name: string,
    script: string,
    args: readonly string[],
    launcher: readonly string[] = [],
  ) {
    this.name = name;
    const [command = "", ...rest] = [...launcher, process.execPath, script, ...args];
    this.process = spawn(command, rest, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, UV_THREADPOOL_SIZE: "12" },
      // A Ctrl-C in the terminal goes to the demonstration only, which ends its children in order.
      detached: true,
    });
    this.exited = new Promise((resolve) => {
      const end = (): void => {
        this.ended = true;
        resolve();
      };
      this.process.once("exit", end);
      this.process.once("error", end);
    });
    this.closed = new Promise((resolve) => {
      this.process.once("close", () => resolve());
    });
    this.process.stdin?.on("error", () => this.process.kill("SIGTERM"));
    this.process.stderr?.on("data", (chunk: Buffer) => {
      this.errors = (this.errors + chunk.toString()).slice(-KEPT_OUTPUT_BYTES);
    });
    if (this.process.stdout !== null) {
      createInterface({ input: this.process.stdout }).on("line", (line) => this.onLine(line));
    }
  }

  /** The command of this program, as a process of its own. */
  static smfs(name: string, args: readonly string[]): Child {
    return new Child(name, MAIN, args);
  }

  eachLine(listener: (line: string) => void): void {
    this.onLine = listener;
  }

  send(line: string): void {
    this.process.stdin?.write(`${line}\n`);
  }

  kill(signal: NodeJS.Signals): void {
    if (!this.ended) this.process.kill(signal);
  }

  /** Asks the process to end, and ends it when it has not after `graceMillis`. */
  async stop(graceMillis = 10_000): Promise<void> {
    this.kill("SIGTERM");
    const timer = setTimeout(() => this.kill("SIGKILL"), graceMillis);
    await this.exited;
    clearTimeout(timer);
  }

  get lastWords(): string {
    return this.errors.trim();
  }
}

/** What a process answers to a line. */
interface Reply {
  readonly ok: boolean;
  readonly error?: string;
}

/**
 * Commands as JSON, one a line, answered in order. Lines that are no answer (they have no `ok`) are
 * what the process tells by itself.
 */
export class Dialogue {
  private readonly child: Child;
  /** Who waits for an answer, in the order of the questions. */
  private readonly waiting: ((reply: Reply) => void)[] = [];

  constructor(child: Child, onNote: (line: string) => void = () => {}) {
    this.child = child;
    child.eachLine((line) => {
      const reply = line.startsWith("{") ? (JSON.parse(line) as Partial<Reply>) : {};
      if (reply.ok === undefined) onNote(line);
      else this.waiting.shift()?.(reply as Reply);
    });
  }

  /** The reply with what was asked for. Throws `SmfsError` when it is a refusal, or none comes. */
  async ask<T>(command: object): Promise<T> {
    const { name, exited } = this.child;
    const answered = new Promise<Reply>((resolve) => this.waiting.push(resolve));
    this.child.send(JSON.stringify(command));
    const reply = await Promise.race([answered, exited.then(() => null)]);
    if (reply === null) {
      throw new SmfsError("UNREACHABLE", `${name} ended: ${this.child.lastWords}`);
    }
    if (!reply.ok) throw new SmfsError("IO", `${name}: ${reply.error ?? "no reason given"}`);
    return reply as T;
  }
}

/** Asks again and again until there is an answer; throws with the child's last words when it died. */
export async function until<T>(
  what: string,
  children: readonly Child[],
  ask: () => Promise<T | undefined>,
  timeoutMillis = 30_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMillis;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    const dead = children.find((child) => child.ended);
    if (dead !== undefined) {
      throw new SmfsError("UNREACHABLE", `${dead.name} ended while ${what}: ${dead.lastWords}`);
    }
    if (Date.now() > deadline) {
      const words = children.map((child) => child.lastWords).join("\n");
      throw new SmfsError("TIMED_OUT", `${what} took longer than ${timeoutMillis} ms\n${words}`);
    }
    await pause(50);
  }
}

export function pause(millis: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, millis);
  });
}
