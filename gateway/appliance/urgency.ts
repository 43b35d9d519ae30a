/**
 * Whether the data plane's thread goes before all ordinary ones: a packet that waits for its turn on
 * a busy machine is late for its flow, and TCP takes that for a queue on the path.
 *
 * It is real-time while it waits most of the time. When it is busy itself, that would be unfair and
 * harmful: the kernel stops real-time threads for 50 ms in each second in which they use a core up
 * (sched(7)). Then it has a high priority among the ordinary ones.
 */
import { setPriority } from "node:os";
import { setScheduling } from "../../sys/scheduling.ts";

/** Shares of the time that it works: above, ordinary; below, real-time again. */
const BUSY = 0.5;
const IDLE = 0.3;
/** A nice value, before what people run. */
const HIGH_PRIORITY = -15;

export class Urgency {
  private waitedMicros = 0;
  private sinceMicros = -Infinity;
  private isRealtime = false;
  /** The process may not: it is not asked again. */
  private isRefused = false;

  constructor() {
    raisePriority();
  }

  noteWait(micros: number): void {
    this.waitedMicros += micros;
  }

  /** Judges the time since the last decision. */
  decide(nowMicros: number): void {
    const elapsed = nowMicros - this.sinceMicros;
    const share = 1 - this.waitedMicros / elapsed;
    this.sinceMicros = nowMicros;
    this.waitedMicros = 0;
    if (this.isRefused || elapsed === Infinity) return;
    if (this.isRealtime && share > BUSY) this.become("ordinary");
    else if (!this.isRealtime && share < IDLE) this.become("realtime");
  }

  private become(how: "realtime" | "ordinary"): void {
    this.isRefused = !setScheduling(how);
    this.isRealtime = how === "realtime" && !this.isRefused;
  }
}

/** Of this thread: Linux takes 0 for the caller, and priorities are a thread's (setpriority(2)). */
function raisePriority(): void {
  try {
    setPriority(0, HIGH_PRIORITY);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_SYSTEM_ERROR") throw error;
  }
}
