/**
 * The old primary comes back after its mirror was promoted: its disk has survived after all, and its
 * applications start again. It may work alone for a while; when the two can talk, it is fenced.
 *
 * - From its return on nothing there is acknowledged as safe elsewhere.
 * - It is fenced once the network is in order, and keeps everything that it ever promised.
 * - The promoted site goes on as if nothing had happened.
 * - As a mirror it follows when all that it has is part of the new history; otherwise it refuses,
 *   saying split brain, or is refused when what it would need was dropped meanwhile, and nothing at it
 *   is changed.
 */
import { SmfsError } from "../../lib/errors.ts";
import type { History } from "./history.ts";
import type { SimMirror, SimPrimary } from "./sites.ts";
import { DISK_BYTES, type TwoSites, Violation } from "./two-sites.ts";

const SECOND = 1_000_000;
/** Longer than retries and time-outs of the transport and the mirror machines take together. */
const REUNION_MICROS = 20 * SECOND;

export class OldPrimary {
  private readonly sites: TwoSites;
  /** What is done at the old primary. */
  private readonly history: History;
  /** What the promoted site shows, and what is done there from now on. */
  private readonly newHistory: History;

  constructor(sites: TwoSites, history: History, newHistory: History) {
    this.sites = sites;
    this.history = history;
    this.newHistory = newHistory;
  }

  async comeBack(): Promise<void> {
    const { sites } = this;
    const { prng, time } = sites;
    const oldIndex = await sites.lookAt("primary", "power", this.history);
    this.history.rewind(oldIndex);
    sites.stop("primary", "kill");
    sites.stop("mirror", "kill");
    // Whoever filled them has given the space back.
    for (const disk of Object.values(sites.disks)) disk.resize(DISK_BYTES);
    const promoted = await this.startPromoted("promoted");
    if (prng.chance(0.4)) sites.network.break(prng.below(5 * SECOND));
    await time.pass(prng.below(2 * SECOND));
    if (prng.chance(0.6)) await this.actAsPrimary();
    await this.expectGoesOn(promoted);
    await this.actAsMirror();
  }

  private async startPromoted(standing: "promoted" | "mirrored"): Promise<SimPrimary> {
    const { sites, newHistory } = this;
    const promoted = await sites.connectPrimary("mirror", sites.newLife(), standing);
    sites.startWorkload(promoted, newHistory, () => "failed");
    return promoted;
  }

  private async actAsPrimary(): Promise<void> {
    const { sites } = this;
    const { history } = this;
    const { time, network } = sites;
    const before = safeElsewhere(history);
    const old = await sites.connectPrimary("primary", sites.newLife(), "mirrored");
    sites.startWorkload(old, history, (error) => (isFenced(error) ? "ignored" : "failed"));
    const inOrder = Math.max(time.now, network.brokenUntil);
    while (old.fencedBy === null) {
      await time.pass(0.2 * SECOND);
      if (time.now > inOrder + REUNION_MICROS) throw new Violation("the old primary is not fenced");
    }
    await time.pass(SECOND);
    if (safeElsewhere(history) > before) {
      throw new Violation("the old primary acknowledged what only it has as safe elsewhere");
    }
    if (mayAppend(old)) throw new Violation("the fenced log can be written");
    sites.stop("primary", "kill");
    await this.expectKept();
  }

  /** On a copy: looking at it as a primary does writes an epoch. */
  private async expectKept(): Promise<void> {
    const { sites } = this;
    const disk = sites.disks.primary;
    sites.disks.primary = disk.successor();
    await sites.lookAt("primary", "kill", this.history);
    sites.disks.primary = disk;
  }

  private async expectGoesOn(promoted: SimPrimary): Promise<void> {
    const { operations } = this.newHistory;
    await this.sites.time.pass(SECOND);
    if (promoted.fencedBy !== null) throw new Violation("the promoted site was fenced");
    if (this.newHistory.operations === operations) throw new Violation("the promoted site hangs");
  }

  /** The operator makes a mirror of it; the promoted site starts again, and waits for it. */
  private async actAsMirror(): Promise<void> {
    const { sites, newHistory } = this;
    const { time, network } = sites;
    sites.stop("mirror", "kill");
    newHistory.rewind(await sites.lookAt("mirror", "kill", newHistory));
    sites.stop("mirror", "kill");
    const mirror = await sites.connectMirror("primary", sites.newLife());
    const head = mirror.log?.head.sequence ?? 0;
    const primary = await this.startPromoted("mirrored");
    const inOrder = Math.max(time.now, network.brokenUntil);
    for (let upTo = 0; !isSettled(primary, mirror, upTo); ) {
      upTo = primary.log.head.sequence;
      await time.pass(0.5 * SECOND);
      if (time.now < inOrder + REUNION_MICROS) continue;
      const [here, there] = [mirror.session, primary.session];
      const what = `${here.state} ${here.reason}, promoted site ${there.state} ${there.reason}`;
      throw new Violation(`the old primary as a mirror: ${what}`);
    }
    if (primary.session.state === "streaming") return;
    if (mirror.log?.head.sequence !== head)
      throw new Violation("a mirror that refuses has changed");
    sites.stop("primary", "kill");
    await this.expectKept();
  }
}

/** It follows and has everything up to a record, or one of the two has said why not. */
function isSettled(primary: SimPrimary, mirror: SimMirror, upTo: number): boolean {
  const { state, reason } = mirror.session;
  if (state === "refusing") return reason.startsWith("split brain");
  const { session } = primary;
  if (session.state === "refused") return session.reason.includes("were dropped here");
  return upTo > 0 && session.state === "streaming" && session.durableSequence >= upTo;
}

function mayAppend({ volume }: SimPrimary): boolean {
  try {
    volume.checkpoint("always");
    return true;
  } catch (error) {
    if (isFenced(error)) return false;
    throw error;
  }
}

function safeElsewhere(history: History): number {
  return history.acknowledgedAt("network") + history.acknowledgedAt("remote");
}

function isFenced(error: unknown): boolean {
  return error instanceof SmfsError && error.code === "FENCED";
}
