/**
 * Opening a log to look at it: nothing below is written to, and what opening would do (cut a torn
 * tail, remove hollow segments) is done to a shadow and reported. A log that does not open because of
 * damage behind its last whole record is shown up to there, with the reason.
 */
import { SmfsError } from "../../../lib/errors.ts";
import type { Clock, Timers } from "../../../lib/ports.ts";
import type { Address, SegmentStore } from "./api.ts";
import { Log, type Recovered, type RecoverOptions } from "./log.ts";
import { ShadowStore } from "./shadow.ts";

export interface Inspected {
  /** Null when not even its beginning can be read. */
  readonly log: Log | null;
  /** Below the log. */
  readonly store: ShadowStore;
  /** Why it does not open; null when it does. */
  readonly failure: SmfsError | null;
  /** Where a torn tail would be cut off. */
  readonly tornAt: Address | null;
}

export function inspectLog(
  store: SegmentStore,
  options: RecoverOptions,
  time: Clock & Timers,
): Inspected {
  const asItIs = tryRecover(store, options, time);
  if (asItIs.recovered.ok) return found(asItIs, null);
  const { failure } = asItIs.recovered;
  // A follower's records vouch for nothing: its log opens up to whatever is damaged.
  const shortened = tryRecover(store, { ...options, follower: true }, time);
  if (shortened.recovered.ok) return found(shortened, failure);
  return { log: null, store: asItIs.shadow, failure, tornAt: null };
}

interface Try {
  readonly shadow: ShadowStore;
  readonly recovered: Recovered;
}

function tryRecover(store: SegmentStore, options: RecoverOptions, time: Clock & Timers): Try {
  const shadow = new ShadowStore(store);
  return { shadow, recovered: Log.recover(shadow, options, time) };
}

function found({ shadow, recovered }: Try, failure: SmfsError | null): Inspected {
  if (!recovered.ok) throw recovered.failure;
  const { log, report } = recovered;
  return { log, store: shadow, failure, tornAt: failure === null ? report.cutAt : null };
}
