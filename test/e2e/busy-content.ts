/** What the busy writer writes: everything follows from a file's number, so a reader can tell. */
import { Prng } from "../../lib/prng.ts";

/** Each write appends this much; not a multiple of any block size. */
export const STEP_BYTES = 10_007;

export function contentOf(file: number, length: number): Buffer {
  const prng = new Prng(file + 1);
  const words = Buffer.alloc(Math.ceil(length / 4) * 4);
  for (let at = 0; at < words.length; at += 4) words.writeUInt32LE(prng.u32(), at);
  return words.subarray(0, length);
}
