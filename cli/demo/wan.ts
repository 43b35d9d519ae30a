/** The emulated WAN of a demonstration: `smfs netem` in a process of its own, told what to do by lines. */
import type { WanStatus } from "../../web/status-types.ts";
import { type Child, Dialogue } from "./processes.ts";

export interface WanOptions {
  /** As the user wrote them: durations, rates and shares with units. */
  readonly delay: string;
  readonly loss: string;
  /** Mean packets of a burst of losses; undefined: independent losses. */
  readonly burst: number | undefined;
  readonly rate: string;
  readonly seed: number;
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
  private readonly dialogue: Dialogue;

  constructor(child: Child) {
    this.dialogue = new Dialogue(child);
  }

  async setLoss(share: string, burst: number | undefined): Promise<void> {
    await this.dialogue.ask({ set: { loss: share, ...(burst === undefined ? {} : { burst }) } });
  }

  /** What is on the wire travels on; nothing more enters. */
  async cut(): Promise<void> {
    await this.dialogue.ask({ cut: true });
  }

  async restore(): Promise<void> {
    await this.dialogue.ask({ restore: true });
  }

  async statistics(): Promise<WanStatus> {
    return (await this.dialogue.ask<{ statistics: WanStatus }>({ stats: true })).statistics;
  }
}
