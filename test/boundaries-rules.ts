/**
 * The repository's own rules, over paths and texts: which folder may import which, what a core may
 * see, and words that must not be committed. Pure, so that the rules are tested themselves.
 */

export interface Finding {
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

/** Folders each folder may import besides itself; ARCHITECTURE.md has the picture. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  sys: ["lib"],
  logfs: ["lib", "sys"],
  gateway: ["lib", "sys"],
  netem: ["lib", "sys"],
  mirror: ["lib", "sys", "logfs", "gateway", "netem"],
  web: ["lib"],
  cli: ["lib", "sys", "logfs", "gateway", "netem", "mirror", "web"],
};

/** Packages that pure code may use: they compute, and touch nothing outside. */
const PURE_PACKAGES = new Set(["@node-rs/crc32"]);

const FORBIDDEN_WORDS: readonly (readonly [RegExp, string])[] = [
  [/npmjs|yarnpkg|npmmirror|artifactory|verdaccio/i, "names a package registry"],
  [/(^|[\s"'`(=:])\/(work|root|Users|home\/\w+)\/[\w.]/, "names a path of one machine"],
  [/\b(TODO|FIXME)\b/, "is unfinished: do it, or open an issue"],
];

const FOCUSED_TEST = /\b(test|it|describe)\.only\b/;

/** These name the words to find them. */
const RULE_FILES = new Set(["test/boundaries-rules.ts", "test/unit/boundaries.test.ts"]);

export function checkFile(path: string, text: string): Finding[] {
  const isSource = path.endsWith(".ts");
  return text.split("\n").flatMap((line, index) => {
    const messages = [...checkWords(path, line), ...(isSource ? checkImports(path, line) : [])];
    return messages.map((message) => ({ path, line: index + 1, message }));
  });
}

function checkWords(path: string, line: string): string[] {
  if (RULE_FILES.has(path)) return [];
  const found = FORBIDDEN_WORDS.filter(([word]) => word.test(line)).map(([, message]) => message);
  if (path.startsWith("test/") && FOCUSED_TEST.test(line)) found.push("runs one test only");
  return found;
}

function checkImports(path: string, line: string): string[] {
  const specifier = specifierOf(line);
  if (specifier === null) return [];
  const folder = folderOf(path);
  const allowed = MAY_IMPORT[folder];
  // Tests and benches, and files at the top, may import anything.
  if (allowed === undefined) return [];
  if (!specifier.startsWith(".")) return checkPackage(path, specifier);
  const target = resolvePath(path, specifier);
  const targetFolder = folderOf(target);
  if (targetFolder !== folder && !allowed.includes(targetFolder)) {
    return [`${folder} may import ${["itself", ...allowed].join(", ")}, not ${target}`];
  }
  if (isPure(path) && !isPure(target)) return [`a core may import lib and cores, not ${target}`];
  return [];
}

function checkPackage(path: string, specifier: string): string[] {
  if (!isPure(path) || PURE_PACKAGES.has(specifier)) return [];
  return [`a core sees the language only, not ${specifier}`];
}

/** What a line imports or exports from; multi-line imports end with the line that says `from`. */
function specifierOf(line: string): string | null {
  const match =
    /^\s*(?:import|export)\s*["']([^"']+)["']/.exec(line) ??
    /^\s*(?:import|export|\})[^"'`]*\bfrom\s+["']([^"']+)["']/.exec(line) ??
    /\bimport\(\s*["']([^"']+)["']/.exec(line);
  return match?.[1] ?? null;
}

function isPure(path: string): boolean {
  return folderOf(path) === "lib" || path.split("/")[1] === "core";
}

function folderOf(path: string): string {
  return path.includes("/") ? (path.split("/")[0] as string) : "";
}

/** `specifier` from `path`, as a path of the repository. */
function resolvePath(path: string, specifier: string): string {
  const parts = path.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}
