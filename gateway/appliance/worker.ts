/** Entry of the data plane's thread: it gets everything ready made, and runs until told to stop. */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { assert } from "../../lib/assert.ts";
import { messageOf } from "../../lib/errors.ts";
import { Bell } from "../../sys/poll.ts";
import { DataPlane } from "./data-plane.ts";
import type { FromDataPlane, ToDataPlane } from "./messages.ts";
import type { DataPlaneSettings } from "./settings.ts";
import { SharedStatistics } from "./statistics.ts";

export interface WorkerStart {
  readonly settings: DataPlaneSettings;
  /** Descriptor of the bell that is rung after each message. */
  readonly bell: number;
  readonly statistics: SharedArrayBuffer;
  readonly seed: number;
}

assert(parentPort !== null, "this module is the entry of a worker thread");
const port = parentPort;

function tell(message: FromDataPlane): void {
  port.postMessage(message);
}

/** Messages are read by hand: this thread's event loop does not turn. */
function takeMessage(): ToDataPlane | null {
  const received: { message: ToDataPlane } | undefined = receiveMessageOnPort(port);
  return received?.message ?? null;
}

const { settings, bell, statistics, seed } = workerData as WorkerStart;
try {
  const shared = new SharedStatistics(statistics);
  const plane = new DataPlane(settings, new Bell(bell), shared, seed, tell, takeMessage);
  tell({ kind: "ready" });
  plane.run();
  tell({ kind: "stopped" });
} catch (error) {
  const stack = error instanceof Error ? error.stack : undefined;
  tell({ kind: "failed", message: stack ?? messageOf(error) });
}
