/**
 * Assembles `gf256.wat` into `../core/code/gf256-module.ts`, which is committed: cores read no files, and
 * nobody needs an assembler to run smfs. `npm run build` runs this; a test holds the two together.
 */
import { readFileSync, writeFileSync } from "node:fs";
import wabt from "wabt";

const SOURCE = new URL("gf256.wat", import.meta.url);
export const GENERATED = new URL("../core/code/gf256-module.ts", import.meta.url);
const LINE_CHARACTERS = 96;

/** The text of the generated file. */
export async function assemble(): Promise<string> {
  const assembler = await wabt();
  const parsed = assembler.parseWat("gf256.wat", readFileSync(SOURCE, "utf8"), { simd: true });
  try {
    parsed.validate();
    return render(Buffer.from(parsed.toBinary({}).buffer).toString("hex"));
  } finally {
    parsed.destroy();
  }
}

function render(hex: string): string {
  const lines = hex.match(new RegExp(`.{1,${LINE_CHARACTERS}}`, "g")) ?? [];
  return `/** Generated from gateway/kernel/gf256.wat by gateway/kernel/assemble.ts. Do not edit. */
export const GF256_MODULE_HEX = \`
${lines.join("\n")}
\`;
`;
}

/** Only a change is written, so that a build that follows finds nothing new to do. */
export async function writeGenerated(): Promise<void> {
  const text = await assemble();
  if (readFileSync(GENERATED, "utf8") !== text) writeFileSync(GENERATED, text);
}
