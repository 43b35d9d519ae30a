/** Going on with an answer that is here already or comes later, without a turn of the event loop for the first. */
import type { MaybePromise } from "../../core/vfs.ts";

export function andThen<T, U>(
  value: MaybePromise<T>,
  next: (value: T) => MaybePromise<U>,
): MaybePromise<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** The call's answer, or what `recover` makes of its failure (thrown or rejected). */
export function orElse<T, U>(
  call: () => MaybePromise<T>,
  recover: (error: unknown) => U,
): MaybePromise<T | U> {
  try {
    const value = call();
    return value instanceof Promise ? value.catch(recover) : value;
  } catch (error) {
    return recover(error);
  }
}
