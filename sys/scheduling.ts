/** sched_setscheduler(2): whether this thread goes before all ordinary ones when it wakes. */
import { SmfsError } from "../lib/errors.ts";
import { SystemError, declare } from "./libc.ts";

/** include/uapi/linux/sched.h */
const SCHED_OTHER = 0;
const SCHED_FIFO = 1;
const SCHED_RESET_ON_FORK = 0x40000000;
/** The least of the real-time priorities: before ordinary threads, behind all other real-time ones. */
const LEAST_PRIORITY = 1;

const setScheduler = declare(
  "sched_setscheduler",
  "int sched_setscheduler(int pid, int policy, const void *parameter)",
);

/**
 * `realtime` is for threads that wait most of the time and must not be late: on a busy machine they
 * wake tens of microseconds late instead of ten milliseconds. The kernel keeps 5 % of each core for
 * others (sched(7), sched_rt_runtime_us). False where the process may not (CAP_SYS_NICE), or
 * the system cannot.
 */
export function setScheduling(how: "realtime" | "ordinary"): boolean {
  const isRealtime = how === "realtime";
  const parameter = new Uint8Array(4); // struct sched_param: int sched_priority
  parameter[0] = isRealtime ? LEAST_PRIORITY : 0;
  try {
    setScheduler(0, isRealtime ? SCHED_FIFO | SCHED_RESET_ON_FORK : SCHED_OTHER, parameter);
    return true;
  } catch (error) {
    if (error instanceof SystemError && error.code === "EPERM") return false;
    if (error instanceof SmfsError && error.code === "UNSUPPORTED") return false;
    throw error;
  }
}
