/**
 * Answers that come now or later: the common one, from memory, costs no turn of the event loop.
 * (Not called `then`: a module that exports `then` is itself taken for a promise by `import()`.)
 */
import type { MaybePromise } from "../vfs.ts";

export function chain<T, R>(
  value: MaybePromise<T>,
  next: (value: T) => MaybePromise<R>,
): MaybePromise<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}
