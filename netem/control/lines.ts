/** Lines of a stream of text, each of a bounded length. */
import { SmfsError } from "../../lib/errors.ts";

/** Longest line, characters: no command comes near. */
const MAX_LINE_LENGTH = 64 * 1024;

/** Complete lines, and what stands behind the last newline. Throws `SmfsError` TOO_LARGE. */
export async function* linesOf(input: AsyncIterable<Buffer | string>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of input) {
    const text = typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true });
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
    if (rest.length > MAX_LINE_LENGTH) {
      throw new SmfsError("TOO_LARGE", `a line has at most ${MAX_LINE_LENGTH} characters`);
    }
  }
  if (rest !== "") yield rest;
}
