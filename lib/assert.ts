/**
 * Assertions stay on in production: a broken invariant stops the process before it can
 * write something wrong. Bad input from outside is never an assertion; it is an error.
 */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message);
}

class AssertionFailure extends Error {
  override name = "AssertionFailure";
}
