/**
 * The thread of the data plane (`plane.ts`), and how others speak with it: lines of the control
 * protocol go in behind a bell, answers come back as messages. The descriptors stay the caller's.
 */
import { readFileSync } from "node:fs";
import {
  isMainThread,
  type MessagePort,
  parentPort,
  receiveMessageOnPort,
  MessageChannel,
  Worker,
  workerData,
} from "node:worker_threads";
import { SmfsError } from "../../lib/errors.ts";
import { Bell } from "../../sys/poll.ts";
import { setScheduling } from "../../sys/scheduling.ts";
import { TunDevice } from "../../sys/tun.ts";
import { answerLine, type ControlReply } from "../control/control.ts";
import type { PathSettings } from "../core/path.ts";
import type { TimelineEvent } from "../core/timeline.ts";
import { TunPlane } from "./plane.ts";
import { DEVICE, droppedByDevice } from "./site.ts";

interface PlaneEnd {
  readonly namespace: string;
  readonly fd: number;
}

export interface PlaneTask {
  readonly endA: PlaneEnd;
  readonly endB: PlaneEnd;
  readonly mtuBytes: number;
  readonly path: PathSettings;
}

type Order = { readonly kind: "line"; readonly line: string } | { readonly kind: "stop" };
type Report =
  | { readonly kind: "answer"; readonly reply: ControlReply }
  | { readonly kind: "timeline"; readonly event: TimelineEvent };

interface WorkerTask extends PlaneTask {
  readonly role: "netem-plane";
  readonly bellFd: number;
  readonly orders: MessagePort;
}

export class PlaneThread {
  /** Rejects when the thread fails; never resolves. */
  readonly failed: Promise<never>;
  private readonly bell = new Bell();
  private readonly orders: MessagePort;
  private readonly worker: Worker;
  private readonly ended: Promise<void>;
  private readonly waiting: ((reply: ControlReply) => void)[] = [];

  /** Carries packets from here on. */
  constructor(task: PlaneTask, onTimeline: (event: TimelineEvent) => void) {
    const { port1, port2 } = new MessageChannel();
    this.orders = port1;
    const data: WorkerTask = { ...task, role: "netem-plane", bellFd: this.bell.fd, orders: port2 };
    this.worker = new Worker(new URL(import.meta.url), { workerData: data, transferList: [port2] });
    this.worker.on("message", (report: Report) => {
      if (report.kind === "timeline") onTimeline(report.event);
      else this.waiting.shift()?.(report.reply);
    });
    this.failed = new Promise((_resolve, reject) => {
      this.worker.once("error", (error: unknown) => reject(explained(error)));
    });
    // Whoever does not wait for the failure hears of it from `answer` and `stop`.
    this.failed.catch(() => undefined);
    this.ended = new Promise((resolve) => this.worker.once("exit", () => resolve()));
  }

  /** Answers come in the order of the lines. */
  async answer(line: string): Promise<ControlReply> {
    const reply = new Promise<ControlReply>((resolve) => this.waiting.push(resolve));
    this.order({ kind: "line", line });
    const ended = this.ended.then((): never => {
      throw new SmfsError("IO", "the data plane has ended");
    });
    return Promise.race([reply, this.failed, ended]);
  }

  async stop(): Promise<void> {
    this.order({ kind: "stop" });
    await this.ended;
    this.orders.close();
    this.bell.close();
  }

  private order(order: Order): void {
    this.orders.postMessage(order);
    this.bell.ring();
  }
}

/** A system call that fails here is a device that somebody has deleted; all else is a bug of ours. */
function explained(error: unknown): unknown {
  if (!(error instanceof Error && "syscall" in error)) return error;
  return new SmfsError("IO", `a device of the path cannot be used: ${error.message}`, error);
}

function runPlane(task: WorkerTask, port: MessagePort): void {
  const { endA, endB, mtuBytes, path, orders, bellFd } = task;
  const report = (message: Report): void => port.postMessage(message);
  const readDevices = (): string => readFileSync("/proc/thread-self/net/dev", "utf8");
  const bell = new Bell(bellFd);
  // A path does not slow down because a machine is busy; where this may not be, it does.
  setScheduling("realtime");
  const plane = new TunPlane({
    deviceA: new TunDevice(endA.fd, DEVICE, 0),
    deviceB: new TunDevice(endB.fd, DEVICE, 0),
    mtuBytes,
    path,
    bellFd,
    onTimeline: (event) => report({ kind: "timeline", event }),
    countDrops: () =>
      droppedByDevice(endA.namespace, readDevices) + droppedByDevice(endB.namespace, readDevices),
  });
  for (;;) {
    plane.runUntilBell();
    bell.quiet();
    for (;;) {
      const order: Order | undefined = receiveMessageOnPort(orders)?.message;
      if (order === undefined) break;
      if (order.kind === "stop") return;
      report({ kind: "answer", reply: answerLine(plane, order.line) });
    }
  }
}

/** The thread begins here, too. */
if (!isMainThread && parentPort !== null && isTask(workerData)) runPlane(workerData, parentPort);

function isTask(data: unknown): data is WorkerTask {
  return typeof data === "object" && data !== null && "role" in data && data.role === "netem-plane";
}
