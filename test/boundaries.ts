/**
 * `npm run check` holds every tracked file to the repository's own rules (boundaries-rules.ts) and
 * says how many it examined. Without git (an unpacked archive) it walks the folders instead.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { checkFile } from "./boundaries-rules.ts";

/** Written by tools, or not ours. */
const SKIPPED_FOLDERS = new Set(["node_modules", "dist", ".git"]);
const SKIPPED_FILES = new Set(["package-lock.json", "LICENSE"]);
const TEXTS = /\.(ts|js|json|md|html|css|sh)$|^cli\/smfs$|^\.ci\//;

const root = dirname(import.meta.dirname);
const paths = listFiles().filter((path) => TEXTS.test(path) && !SKIPPED_FILES.has(path));
const findings = paths.flatMap((path) => checkFile(path, readFileSync(join(root, path), "utf8")));
for (const { path, line, message } of findings) {
  process.stdout.write(`${path}:${line}: ${message}\n`);
}
const sources = paths.filter((path) => path.endsWith(".ts")).length;
process.stdout.write(
  `boundaries: ${paths.length} files examined, ${sources} of them TypeScript, ${findings.length} findings\n`,
);
// Having looked at nothing is no success.
process.exitCode = findings.length > 0 || sources === 0 ? 1 : 0;

function listFiles(): string[] {
  return trackedFiles() ?? walk("");
}

/** null when there is no git, or no repository. Files that were deleted but not committed are left out. */
function trackedFiles(): string[] | null {
  const git = (...args: string[]): string[] =>
    execFileSync("git", ["ls-files", "-z", ...args], {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    })
      .split("\0")
      .filter((path) => path !== "");
  try {
    const deleted = new Set(git("--deleted"));
    return git().filter((path) => !deleted.has(path));
  } catch (error) {
    if (error instanceof Error) return null;
    throw error;
  }
}

function walk(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) return SKIPPED_FOLDERS.has(entry.name) ? [] : walk(path);
    return entry.isFile() ? [path] : [];
  });
}
