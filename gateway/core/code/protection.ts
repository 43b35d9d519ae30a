/** Protection classes: what has left the machine for a packet, packed into a small number. */
import { FIRST_COPY_STRIDES, type Protection } from "./risk-model.ts";

/** Plain copies of one packet that are worth counting. */
export const MAX_COPIES = 7;
const MAX_STRIDE_LOG2 = 3;
/** Depths that the model tells apart. */
export const MAX_DEPTH = 3;

/** Bit fields of a class. */
const FIELD = {
  layers: { shift: 0, bits: 4 },
  spread: { shift: 4, bits: 4 },
  depth: { shift: 8, bits: 2 },
  copies: { shift: 10, bits: 3 },
  /** Binary logarithm of the stride. */
  stride: { shift: 13, bits: 2 },
  /** Of two codes in use one after the other: which one protects it. */
  epoch: { shift: 15, bits: 1 },
} as const;
export type FieldName = keyof typeof FIELD;

export const CLASSES = 2 ** 16;

export function fieldOf(packetClass: number, name: FieldName): number {
  const { shift, bits } = FIELD[name];
  return (packetClass >> shift) & ((1 << bits) - 1);
}

export function withField(packetClass: number, name: FieldName, value: number): number {
  const { shift, bits } = FIELD[name];
  return (packetClass & ~(((1 << bits) - 1) << shift)) | (value << shift);
}

/** All classes that packets of the epoch's code, with `layers` layers, can be in. */
export function possibleClasses(layers: number, epoch: 0 | 1): readonly number[] {
  const classes: number[] = [];
  const first = withField(0, "epoch", epoch);
  for (let packetClass = first; packetClass < first + CLASSES / 2; packetClass++) {
    const covered = fieldOf(packetClass, "layers");
    const spread = fieldOf(packetClass, "spread");
    const isDeep = fieldOf(packetClass, "depth") > 0;
    if (covered > layers || spread > covered || (isDeep && spread < layers)) continue;
    classes.push(packetClass);
  }
  return classes;
}

/** What the model must be told to judge packets of a class. */
export function protectionOf(packetClass: number): Protection {
  return {
    layers: fieldOf(packetClass, "layers"),
    spread: fieldOf(packetClass, "spread"),
    depth: fieldOf(packetClass, "depth"),
    copies: fieldOf(packetClass, "copies"),
    stride: 2 ** fieldOf(packetClass, "stride"),
  };
}

/** What a copy's distance does to the stride: `packets` after the packet, or after its last copy. */
export function withCopyAfter(packetClass: number, packets: number): number {
  const isFirst = fieldOf(packetClass, "copies") === 0;
  const stride = isFirst ? packets / FIRST_COPY_STRIDES : packets;
  const log2 = Math.min(MAX_STRIDE_LOG2, Math.floor(Math.log2(Math.max(1, stride))));
  const least = isFirst ? log2 : Math.min(log2, fieldOf(packetClass, "stride"));
  return withField(packetClass, "stride", least);
}
