/** The data plane's thread, seen from the control thread: messages there and back, and its end. */
import { randomBytes } from "node:crypto";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import { SmfsError } from "../../lib/errors.ts";
import { Bell } from "../../sys/poll.ts";
import type { FromDataPlane, ToDataPlane } from "./messages.ts";
import type { DataPlaneSettings } from "./settings.ts";
import { SharedStatistics } from "./statistics.ts";
import type { WorkerStart } from "./worker.ts";

/** The compiled module beside this one. */
const ENTRY = new URL(`./worker${extname(fileURLToPath(import.meta.url))}`, import.meta.url);
/** Views of packets, mostly: at 100,000 packets a second this lasts for a tenth of a second. */
const YOUNG_MEGABYTES = 64;
/** How long it may take to say goodbye to its peers. */
const STOP_MILLIS = 2000;

export class DataPlaneThread {
  readonly statistics = new SharedStatistics();
  private readonly worker: Worker;
  private readonly bell = new Bell();
  /** Settles when the thread is no more: rejects with what ended it. */
  readonly ended: Promise<void>;

  /** Runs until `stop`. `onMessage` gets what it says, but for its end. */
  constructor(settings: DataPlaneSettings, onMessage: (message: FromDataPlane) => void) {
    const start: WorkerStart = {
      settings,
      bell: this.bell.fd,
      statistics: this.statistics.memory,
      seed: randomBytes(4).readUInt32LE(),
    };
    // The collector's helper threads have ordinary priority, and on a busy machine the data plane
    // would wait for them, half of its time. What is left behind is short-lived: alone takes 0.2 ms.
    setFlagsFromString("--no-parallel-scavenge");
    const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MEGABYTES };
    this.worker = new Worker(ENTRY, { workerData: start, resourceLimits });
    this.ended = new Promise((resolve, reject) => {
      this.worker.on("message", (message: FromDataPlane) => {
        if (message.kind === "stopped") resolve();
        else if (message.kind === "failed") reject(new SmfsError("IO", message.message));
        else onMessage(message);
      });
      this.worker.once("error", reject);
      this.worker.once("exit", () => reject(new SmfsError("IO", "the data plane's thread ended")));
    });
    // Whoever waits hears of it; until then it is no unhandled rejection.
    this.ended.catch(() => {});
  }

  post(message: ToDataPlane): void {
    this.worker.postMessage(message);
    this.bell.ring();
  }

  /** Never rejects. */
  async stop(): Promise<void> {
    this.post({ kind: "stop" });
    const timer = setTimeout(() => void this.worker.terminate(), STOP_MILLIS);
    await this.ended.catch(() => {});
    clearTimeout(timer);
    await this.worker.terminate();
    this.bell.close();
  }
}
