/**
 * What is in a directory, as ordinary programs see it: kind, permissions, owners, links, sizes,
 * times, contents and extended attributes of everything below it, as sorted lines.
 */
import { shell } from "./command.ts";

/** Differences that an error shows. */
const SHOWN_LINES = 10;

/** Names relative to the directory; its own attributes are not among them. */
export async function listTree(directory: string): Promise<string[]> {
  const how = { cwd: directory };
  // A directory's size is the file system's own.
  const status = `find . -mindepth 1 \\( -type d -printf '%p %y %m %U:%G %T@\\n' \\) -o -printf '%p %y %m %U:%G %n %s %T@ %l\\n'`;
  const contents = `find . -type f -print0 | xargs -0r sha256sum`;
  const xattrs = `getfattr -Rhd -m - . 2>/dev/null | grep -v '^$' || true`;
  const lists = [];
  for (const script of [status, contents])
    lists.push((await shell(script, how)).split("\n").sort());
  // A block an inode, whose order is that of the directory: sorted by the line it begins with.
  const blocks = (await shell(xattrs, how)).split("# file: ").sort();
  return [...lists.flat(), ...blocks.flatMap((block) => block.split("\n"))].filter(
    (line) => line !== "",
  );
}

/** Throws with the first lines that are in one list only. */
export function expectSame(expected: readonly string[], found: readonly string[]): void {
  const [wanted, there] = [new Set(expected), new Set(found)];
  const missing = expected.filter((line) => !there.has(line)).map((line) => `- ${line}`);
  const extra = found.filter((line) => !wanted.has(line)).map((line) => `+ ${line}`);
  const all = [...missing, ...extra];
  if (all.length === 0 && expected.length === found.length) return;
  throw new Error(`${all.length} differences\n${all.slice(0, SHOWN_LINES).join("\n")}`);
}
