/**
 * Binary layouts, declared once.
 *
 * `struct(name, fields)` takes the fields in order with their type and meaning, and gives the
 * size, `encode`, `decode`, the offset of each field and the rows of its table in FORMAT.md.
 * Everything is little-endian. Reserved bytes are written as zero and refused when they are not.
 * The functions are generated once as straight-line code: an interpreter costs about 125 ns
 * for a 40-byte header, generated code about 15 ns, and packets and requests are hot.
 *
 * 64-bit fields are JavaScript numbers and must stay below 2^53: `u64` refuses larger values on
 * decode. Where all 64 bits matter (kernel flags, handles), use two `u32`. Where somebody else may
 * say anything and whoever reads it compares it with a limit far below 2^53 (file offsets), a
 * `roundedU64` decodes what is larger as the nearest number that there is.
 */
import { assert } from "./assert.ts";
import { SmfsError } from "./errors.ts";

type Kind =
  | "u8"
  | "u16"
  | "u32"
  | "i32"
  | "u64"
  | "i64"
  | "roundedU64"
  | "roundedI64"
  | "f64"
  | "bytes"
  | "reserved";

export interface Field<T> {
  readonly kind: Kind;
  readonly size: number;
  readonly doc: string;
  /** Type carrier only; never set. */
  readonly type?: T;
}

const field =
  <T>(kind: Kind, size: number) =>
  (doc: string): Field<T> => ({ kind, size, doc });

export const u8 = field<number>("u8", 1);
export const u16 = field<number>("u16", 2);
export const u32 = field<number>("u32", 4);
export const i32 = field<number>("i32", 4);
export const u64 = field<number>("u64", 8);
export const i64 = field<number>("i64", 8);
export const roundedU64 = field<number>("roundedU64", 8);
export const roundedI64 = field<number>("roundedI64", 8);
export const f64 = field<number>("f64", 8);
/** A fixed run of bytes; decoded as a view into the source, not a copy. */
export const bytes = (size: number, doc: string): Field<Uint8Array> => ({
  kind: "bytes",
  size,
  doc,
});
export const reserved = (size: number): Field<never> => ({
  kind: "reserved",
  size,
  doc: "zero",
});

type Fields = Record<string, Field<unknown>>;
type Value<F extends Fields> = {
  -readonly [K in keyof F as F[K] extends Field<never> ? never : K]: F[K] extends Field<infer T>
    ? T
    : never;
};

export interface Struct<T> {
  readonly name: string;
  /** Bytes that one encoded value takes. */
  readonly size: number;
  readonly rows: readonly { name: string; offset: number; size: number; kind: Kind; doc: string }[];
  /** Writes `value` at `offset`; the caller has made sure that `size` bytes are there. */
  encode(view: DataView, offset: number, value: T): void;
  /** Throws `SmfsError` SHORT, or DAMAGED for a reserved byte that is set or a value past 2^53. */
  decode(view: DataView, offset: number): T;
  /** As `decode`, into an object that the caller keeps: nothing is allocated. */
  decodeInto(view: DataView, offset: number, target: T): void;
  offsetOf(field: keyof T & string): number;
}

export type Infer<S> = S extends Struct<infer T> ? T : never;

export function viewOf(source: Uint8Array): DataView {
  return new DataView(source.buffer, source.byteOffset, source.byteLength);
}

export function struct<F extends Fields>(name: string, fields: F): Struct<Value<F>> {
  let size = 0;
  const rows = Object.entries(fields).map(([key, f]) => {
    const row = { name: key, offset: size, size: f.size, kind: f.kind, doc: f.doc };
    size += f.size;
    return row;
  });
  const encode = rows.map((row) => encodeLine(row)).join("\n");
  const decode = rows.map((row) => decodeLine(name, row)).join("\n");
  const names = rows.filter((row) => row.kind !== "reserved").map((row) => row.name);
  // The source of these functions is made from the declarations in this repository only.
  // oxlint-disable-next-line no-new-func, typescript/no-implied-eval
  const make = new Function(
    "short",
    "damaged",
    `return {
      encode(v, o, x) { ${encode} },
      decode(v, o) {
        if (o < 0 || v.byteLength - o < ${size}) short(${JSON.stringify(name)}, ${size}, v.byteLength - o);
        ${decode}
        return { ${names.join(", ")} };
      },
      decodeInto(v, o, x) {
        if (o < 0 || v.byteLength - o < ${size}) short(${JSON.stringify(name)}, ${size}, v.byteLength - o);
        ${decode}
        ${names.map((key) => `x.${key} = ${key};`).join(" ")}
      },
    };`,
  ) as (
    s: typeof short,
    d: typeof damaged,
  ) => Pick<Struct<Value<F>>, "encode" | "decode" | "decodeInto">;
  const offsets = new Map(rows.map((row) => [row.name, row.offset]));
  return {
    name,
    size,
    rows,
    ...make(short, damaged),
    offsetOf(key) {
      const offset = offsets.get(key);
      assert(offset !== undefined, `${name} has no field ${key}`);
      return offset;
    },
  };
}

type Row = Struct<unknown>["rows"][number];

function encodeLine({ name, offset, size, kind }: Row): string {
  const at = `o + ${offset}`;
  switch (kind) {
    case "u8":
      return `v.setUint8(${at}, x.${name});`;
    case "u16":
      return `v.setUint16(${at}, x.${name}, true);`;
    case "u32":
      return `v.setUint32(${at}, x.${name}, true);`;
    case "i32":
      return `v.setInt32(${at}, x.${name}, true);`;
    case "f64":
      return `v.setFloat64(${at}, x.${name}, true);`;
    case "u64":
    case "i64":
    case "roundedU64":
    case "roundedI64":
      return `v.setUint32(${at}, x.${name} >>> 0, true); v.setInt32(${at} + 4, Math.floor(x.${name} / 4294967296), true);`;
    case "bytes":
      return `new Uint8Array(v.buffer, v.byteOffset + ${at}, ${size}).set(x.${name});`;
    case "reserved":
      return `for (let i = 0; i < ${size}; i++) v.setUint8(${at} + i, 0);`;
  }
}

function decodeLine(structName: string, { name, offset, size, kind }: Row): string {
  const at = `o + ${offset}`;
  const label = JSON.stringify(`${structName}.${name}`);
  switch (kind) {
    case "u8":
      return `const ${name} = v.getUint8(${at});`;
    case "u16":
      return `const ${name} = v.getUint16(${at}, true);`;
    case "u32":
      return `const ${name} = v.getUint32(${at}, true);`;
    case "i32":
      return `const ${name} = v.getInt32(${at}, true);`;
    case "f64":
      return `const ${name} = v.getFloat64(${at}, true);`;
    case "u64":
      return `const ${name} = v.getUint32(${at}, true) + v.getUint32(${at} + 4, true) * 4294967296; if (${name} > 9007199254740991) damaged(${label}, "is past 2^53");`;
    case "i64":
      return `const ${name} = v.getUint32(${at}, true) + v.getInt32(${at} + 4, true) * 4294967296; if (${name} > 9007199254740991 || ${name} < -9007199254740991) damaged(${label}, "is past 2^53");`;
    case "roundedU64":
      return `const ${name} = v.getUint32(${at}, true) + v.getUint32(${at} + 4, true) * 4294967296;`;
    case "roundedI64":
      return `const ${name} = v.getUint32(${at}, true) + v.getInt32(${at} + 4, true) * 4294967296;`;
    case "bytes":
      return `const ${name} = new Uint8Array(v.buffer, v.byteOffset + ${at}, ${size});`;
    case "reserved":
      return `for (let i = 0; i < ${size}; i++) if (v.getUint8(${at} + i) !== 0) damaged(${label}, "has a reserved byte set");`;
  }
}

function short(name: string, needed: number, had: number): never {
  throw new SmfsError("SHORT", `${name} needs ${needed} bytes, had ${Math.max(0, had)}`);
}

function damaged(label: string, what: string): never {
  throw new SmfsError("DAMAGED", `${label} ${what}`);
}
