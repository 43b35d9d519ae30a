/** This machine's clocks and timers, as the cores' ports. */
import type { Clock, Timers } from "../lib/ports.ts";

export const systemTime: Clock & Timers = {
  wallMicros: () => Math.round((performance.timeOrigin + performance.now()) * 1000),
  nowMicros: () => Math.round(performance.now() * 1000),
  at(atMicros, callback) {
    const millis = Math.max(0, Math.ceil((atMicros - performance.now() * 1000) / 1000));
    const timer = setTimeout(callback, millis);
    return () => clearTimeout(timer);
  },
};
