/** The emulated WAN of a demonstration: `smfs netem` in a process of its own, told what to do by lines. */
import { SmfsError } from "../../lib/errors.ts";
import type { WanStatus } from "../../web/status-types.ts";
import type { Child } from "./processes.ts";

export interface WanOptions {
  /** As the user wrote them: durations, rates and shares with units. */
  readonly delay: string;
  readonly loss: string;
  /** Mean packets of a burst of losses; undefined: independent losses. */
  readonly burst: number | undefined;
  readonly rate: string;
  readonly seed: number;
}

interface Reply {
  readonly ok: boolean;
  readonly statistics?: WanStatus;
  readonly error?: string;
}

/** Arguments of `smfs` for a WAN between two ports of the loopback. */
export function wanArguments(options: WanOptions, primaryEnd: number, mirrorEnd: number): string[] {
  const { delay, loss, burst, rate, seed } = options;
  return [
    ...["netem", "--listen", `127.0.0.1:${primaryEnd}`, "--peer", `127.0.0.1:${mirrorEnd}`],
    ...["--delay", delay, "--loss", loss, "--rate", rate, "--seed", String(seed), "--json"],
    ...(burst === undefined ? [] : ["--burst", String(burst)]),
  ];
}

export class Wan {
  private readonly child: Child;
  /** Who waits for an answer, in the order of the questions. */
  private readonly waiting: ((reply: Reply) => void)[] = [];

  constructor(child: Child) {
    this.child = child;
    child.eachLine((line) => this.waiting.shift()?.(JSON.parse(line) as Reply));
  }

  async setLoss(share: string, burst: number | undefined): Promise<void> {
    await this.ask({ set: { loss: share, ...(burst === undefined ? {} : { burst }) } });
  }

  /** What is on the wire travels on; nothing more enters. */
  async cut(): Promise<void> {
    await this.ask({ cut: true });
  }

  async restore(): Promise<void> {
    await this.ask({ restore: true });
  }

  async statistics(): Promise<WanStatus> {
    const { statistics } = await this.ask({ stats: true });
    if (statistics === undefined) throw new SmfsError("IO", "the WAN gives no statistics");
    return statistics;
  }

  private async ask(command: object): Promise<Reply> {
    const answered = new Promise<Reply>((resolve) => this.waiting.push(resolve));
    this.child.send(JSON.stringify(command));
    const reply = await Promise.race([answered, this.child.exited.then(() => null)]);
    if (reply === null)
      throw new SmfsError("UNREACHABLE", `the WAN ended: ${this.child.lastWords}`);
    if (!reply.ok) throw new SmfsError("USAGE", `the WAN: ${reply.error ?? "no reason given"}`);
    return reply;
  }
}
