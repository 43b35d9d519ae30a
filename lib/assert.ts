/**
 * Assertions stay on in production: a broken invariant stops the process before it can
 * write something wrong. Bad input from outside is never an assertion; it is an error.
 */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message);
}

export function unreachable(value: never): never {
  throw new AssertionFailure(`unreachable case: ${String(value)}`);
}

class AssertionFailure extends Error {
  override name = "AssertionFailure";
}
