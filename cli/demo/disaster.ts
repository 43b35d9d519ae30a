/**
 * The rolling disaster of SMFS §5.3, on real input and with real processes:
 *
 *   1. a directory tree is copied into the primary (with cp, through its mount) and closed by a barrier
 *      (an fsync of the root in the chosen mode), while a second writer appends 4 kB messages, each synced;
 *   2. for the last half second the WAN loses more; then it is cut (what is on the wire travels on)
 *      and every process of the primary site is killed with SIGKILL;
 *   3. the mirror is promoted, mounted and compared with a record kept outside both sites.
 */
import { SmfsError } from "../../lib/errors.ts";
import type { SiteStatus, WanStatus } from "../../web/status-types.ts";
import type { Access } from "./access.ts";
import { Child, pause, until } from "./processes.ts";
import { differences, recordTree, type TreeRecord, unchanged } from "./tree.ts";
import type { World, WorldOptions } from "./world.ts";

/** Loss is raised for this long before the site is lost (SMFS §5.3). */
const LOSS_RAISED_MILLIS = 500;
/** Names of files that differ, said at most. */
const SHOWN_FILES = 5;

export interface DisasterOptions extends WorldOptions {
  readonly tree: string;
  /** How long messages go on after the tree's barrier. */
  readonly messagesMillis: number;
  /** The loss of the last half second. */
  readonly finalLoss: string;
  readonly say: (line: string) => void;
}

export interface DisasterReport {
  readonly schemaVersion: 1;
  readonly mode: string;
  /** How the file systems were used: mounted, or through the library. */
  readonly access: "fuse" | "library";
  readonly messagesSent: number;
  readonly messagesAcknowledged: number;
  /** Acknowledged and not at the mirror. */
  readonly messagesLost: number;
  readonly filesCopied: number;
  readonly filesIdentical: number;
  readonly bytesCopied: number;
  readonly copySeconds: number;
  readonly mirrorConsistent: boolean;
  readonly network: {
    readonly sent: number;
    readonly lost: number;
    readonly rebuilt: number;
    readonly retransmitted: number;
    readonly repairOverhead: number;
  };
  readonly latencyMillis: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly elapsedSeconds: number;
  readonly promiseKept: boolean;
}

/** Acknowledgements as the writer reported them, kept outside both sites. */
class Acknowledgements {
  count = 0;
  readonly micros: number[] = [];

  note(line: string): void {
    const [sequence, micros] = line.split(" ").map(Number);
    if (sequence !== this.count) throw new SmfsError("DAMAGED", `the writer reported '${line}'`);
    this.count++;
    this.micros.push(micros ?? 0);
  }

  percentileMillis(share: number): number {
    const sorted = this.micros.toSorted((a, b) => a - b);
    const index = Math.min(sorted.length - 1, Math.floor(sorted.length * share));
    return (sorted[index] ?? 0) / 1000;
  }
}

export async function runDisaster(world: World, options: DisasterOptions): Promise<DisasterReport> {
  const started = Date.now();
  const { say } = options;
  say(`recording ${options.tree} outside both sites`);
  const recorded = await recordTree(options.tree);
  say("starting two sites and the WAN between them");
  await world.start();
  const { access } = world;
  const acknowledgements = new Acknowledgements();
  await access.startMessages((line) => acknowledgements.note(line));
  const { expected, copySeconds } = await copy(access, options, recorded);
  await pause(Math.max(0, options.messagesMillis - LOSS_RAISED_MILLIS));
  const lastSight = await loseTheSite(world, options);
  say(`the primary site is gone; ${acknowledgements.count} messages were acknowledged`);

  const mirrorStatus = await promote(world, options);
  const found = await access.recordCopy();
  const messages = await access.countMessages();
  await world.stopMirror();
  const mirrorConsistent = await check(world.mirror.store, say);
  return report(options, {
    ...{ expected, found, messages, acknowledgements, mirrorConsistent, copySeconds, started },
    ...lastSight,
    mirrorStatus,
  });
}

/** Gives what the copy must hold, and how long it took until all of it was acknowledged. */
async function copy(
  access: Access,
  { tree, mode, say }: DisasterOptions,
  recorded: TreeRecord,
): Promise<{ expected: TreeRecord; copySeconds: number }> {
  say(`copying ${recorded.files} files, ${recorded.bytes} bytes`);
  const started = Date.now();
  await access.copy(tree);
  const copySeconds = (Date.now() - started) / 1000;
  say(`copied and acknowledged in mode ${mode} after ${copySeconds.toFixed(1)} s`);
  const expected = unchanged(recorded, await recordTree(tree));
  if (expected.files < recorded.files) {
    say(`${recorded.files - expected.files} files changed meanwhile and are not compared`);
  }
  return { expected, copySeconds };
}

interface LastSight {
  readonly primaryStatus: SiteStatus;
  readonly wan: WanStatus;
}

/** Loss rises, the WAN is cut, every process of the site dies. */
async function loseTheSite(world: World, options: DisasterOptions): Promise<LastSight> {
  await world.wan.setLoss(options.finalLoss, options.burst);
  options.say(`the WAN now loses ${options.finalLoss}; the site dies in ${LOSS_RAISED_MILLIS} ms`);
  await pause(LOSS_RAISED_MILLIS);
  const early = world.access.programs.find((program) => program.ended);
  if (early !== undefined) {
    throw new SmfsError("IO", `${early.name} ended early: ${early.lastWords}`);
  }
  const primaryStatus = await world.status("primary");
  if (primaryStatus === undefined) throw new SmfsError("UNREACHABLE", "the primary is not there");
  const dead = world.killPrimary();
  await world.wan.cut();
  await dead;
  return { primaryStatus, wan: await world.wan.statistics() };
}

/** Lets the wire drain, then makes the mirror the primary. */
async function promote(world: World, options: DisasterOptions): Promise<SiteStatus> {
  const { say } = options;
  await until("waiting for the wire to drain", [], async () => {
    const first = await world.status("mirror");
    await pause(500);
    const second = await world.status("mirror");
    const still = first?.store.headSequence === second?.store.headSequence;
    return still && second !== undefined ? true : undefined;
  });
  const status = await world.status("mirror");
  if (status === undefined) throw new SmfsError("UNREACHABLE", "the mirror is not there");
  say(`promoting the mirror at record ${status.store.headSequence}`);
  await world.promoteMirror();
  return status;
}

async function check(store: string, say: (line: string) => void): Promise<boolean> {
  const fsck = Child.smfs("fsck", ["fsck", store, "--json"]);
  let text = "";
  fsck.eachLine((line) => {
    text += line;
  });
  await fsck.closed;
  if (fsck.process.exitCode !== 0) say(`fsck of the promoted file system: ${text}`);
  return fsck.process.exitCode === 0;
}

interface Outcome extends LastSight {
  readonly expected: TreeRecord;
  readonly found: TreeRecord;
  readonly messages: number;
  readonly acknowledgements: Acknowledgements;
  readonly mirrorConsistent: boolean;
  readonly mirrorStatus: SiteStatus;
  readonly copySeconds: number;
  readonly started: number;
}

function report(options: DisasterOptions, outcome: Outcome): DisasterReport {
  const { acknowledgements, expected, found, messages, primaryStatus, wan } = outcome;
  const network = primaryStatus.network;
  const messagesLost = Math.max(0, acknowledgements.count - messages);
  const different = differences(expected, found);
  const filesIdentical = expected.files - different.length;
  if (different.length > 0) {
    options.say(`not identical at the mirror: ${different.slice(0, SHOWN_FILES).join(", ")}`);
  }
  const whole = messagesLost === 0 && filesIdentical === expected.files;
  return {
    schemaVersion: 1,
    mode: options.mode,
    access: options.access,
    messagesSent: Math.max(acknowledgements.count + 1, messages),
    messagesAcknowledged: acknowledgements.count,
    messagesLost,
    filesCopied: expected.files,
    filesIdentical,
    bytesCopied: expected.bytes,
    copySeconds: outcome.copySeconds,
    mirrorConsistent: outcome.mirrorConsistent,
    network: {
      sent: wan.aToB.sent,
      lost: wan.aToB.lost,
      rebuilt: outcome.mirrorStatus.network?.rebuiltHere ?? 0,
      retransmitted: network?.retransmitted ?? 0,
      repairOverhead:
        network === null ? 0 : network.repairPackets / Math.max(1, network.dataPackets),
    },
    latencyMillis: {
      p50: acknowledgements.percentileMillis(0.5),
      p99: acknowledgements.percentileMillis(0.99),
      max: acknowledgements.percentileMillis(1),
    },
    elapsedSeconds: (Date.now() - outcome.started) / 1000,
    promiseKept: outcome.mirrorConsistent && (options.mode === "local" || whole),
  };
}
