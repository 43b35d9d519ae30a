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

/** As `call`, with `next` deciding when it throws or rejects. */
export function orElse<T>(
  call: () => MaybePromise<T>,
  next: (error: unknown) => MaybePromise<T>,
): MaybePromise<T> {
  let value: MaybePromise<T>;
  try {
    value = call();
  } catch (error) {
    return next(error);
  }
  return value instanceof Promise ? value.catch(next) : value;
}
