/** Where the checkout is, seen from these sources and from their compiled form below dist/. */
import { fileURLToPath } from "node:url";

const IS_COMPILED = import.meta.url.endsWith("/dist/test/conformance/paths.js");
const ROOT = new URL(IS_COMPILED ? "../../../" : "../../", import.meta.url);

export function inCheckout(path: string): string {
  return fileURLToPath(new URL(path, ROOT));
}
