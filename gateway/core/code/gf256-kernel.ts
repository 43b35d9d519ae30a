/**
 * The WebAssembly kernel: one instance over one memory. The module is compiled once for the process;
 * every engine that runs smfs has WebAssembly with SIMD, so there is no second implementation.
 *
 * The first `TABLE_BYTES` of the memory hold the kernel's tables: 32 bytes for each constant.
 */
import { fromHex } from "../../../lib/bytes.ts";
import { multiply } from "./gf256.ts";
import { GF256_MODULE_HEX } from "./gf256-module.ts";

/** Lengths that the kernel takes are multiples of this. */
export const UNIT_BYTES = 32;
export const TABLE_BYTES = 256 * UNIT_BYTES;
export const PAGE_BYTES = 65536;

/** What the language's WebAssembly interface gives us; its types come with browsers' only. */
interface WasmMemory {
  readonly buffer: ArrayBuffer;
  /** Makes older `buffer`s useless. */
  grow(pages: number): number;
}
declare const WebAssembly: {
  readonly Memory: new (size: { initial: number }) => WasmMemory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: { codec: { memory: WasmMemory } },
  ) => { readonly exports: unknown };
};

/** Addresses and lengths in bytes; see `gateway/kernel/gf256.wat`. */
export interface Kernel {
  xor(target: number, source: number, bytes: number): void;
  addScaled(target: number, source: number, bytes: number, tables: number): void;
  scale(target: number, bytes: number, tables: number): void;
  firstNonZero(at: number, end: number): number;
}

const module = new WebAssembly.Module(fromHex(GF256_MODULE_HEX.replaceAll("\n", "")));
const tables = makeTables();

export function instantiate(): { readonly kernel: Kernel; readonly memory: WasmMemory } {
  const memory = new WebAssembly.Memory({ initial: 1 });
  new Uint8Array(memory.buffer).set(tables);
  const { exports } = new WebAssembly.Instance(module, { codec: { memory } });
  return { kernel: exports as Kernel, memory };
}

/** Where the tables of a constant stand. */
export function tablesOf(constant: number): number {
  return constant * UNIT_BYTES;
}

function makeTables(): Uint8Array {
  const bytes = new Uint8Array(TABLE_BYTES);
  for (let constant = 0; constant < 256; constant++) {
    for (let nibble = 0; nibble < 16; nibble++) {
      bytes[tablesOf(constant) + nibble] = multiply(constant, nibble);
      bytes[tablesOf(constant) + 16 + nibble] = multiply(constant, nibble << 4);
    }
  }
  return bytes;
}
