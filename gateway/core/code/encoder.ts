/**
 * The sender's side of every code: an encoder of the present kind, and while the kind changes the one
 * before it, whose pending repairs leave first.
 *
 * After a change of kind the marks of protection stand still until everything from before it is
 * acknowledged (`release`): levels of different kinds say different things.
 */
import { assert } from "../../../lib/assert.ts";
import { BlockEncoder } from "./block-encoder.ts";
import { symbolHeader } from "./blocks.ts";
import { type CodeParameters, DEFAULT_CODE, type Encoder } from "./code.ts";
import { LayeredEncoder } from "./layered-encoder.ts";
import { REPAIR_HEADER_BYTES } from "./repair.ts";
import { levelsOf, MAX_LEVELS } from "./parameters.ts";
import { SlidingWindowEncoder } from "./sliding-window-encoder.ts";

export interface EncoderOptions {
  readonly parameters?: CodeParameters;
  /** Silence after which partial groups leave, microseconds. Several packet times of the link. */
  readonly idleMicros?: number;
}

/** An encoder of one kind. */
export interface KindEncoder extends Omit<Encoder, "setParameters" | "repairBytes"> {
  idleMicros: number;
}

const DEFAULT_IDLE_MICROS = 2000;

export class ErasureEncoder implements Encoder {
  private current: KindEncoder;
  /** The kind before, until its flushed repairs have been polled. */
  private retiring: KindEncoder | null = null;
  /** Since a change of kind: its last id, and where the marks stood. */
  private change: { readonly lastId: number; readonly marks: readonly number[] } | null = null;
  private lastId = -1;

  /** Throws `SmfsError` CONFIG for parameters outside the limits of `parameters.ts`. */
  constructor(options: EncoderOptions = {}) {
    const idleMicros = options.idleMicros ?? DEFAULT_IDLE_MICROS;
    this.current = encoderOf(options.parameters ?? DEFAULT_CODE, idleMicros);
  }

  /** Silence after which partial groups leave; may change at any time. */
  get idleMicros(): number {
    return this.current.idleMicros;
  }

  set idleMicros(micros: number) {
    this.current.idleMicros = micros;
  }

  get parameters(): CodeParameters {
    return this.current.parameters;
  }

  repairBytes(dataBytes: number): number {
    return REPAIR_HEADER_BYTES + symbolHeader.size + dataBytes;
  }

  push(id: number, packet: Uint8Array, nowMicros: number): void {
    const follows = this.lastId < 0 || id === (this.lastId + 1) >>> 0;
    assert(follows, "data packets must be numbered one after the other");
    this.lastId = id;
    this.current.push(id, packet, nowMicros);
  }

  poll(out: Uint8Array, nowMicros: number): number {
    if (this.retiring !== null) {
      const length = this.retiring.poll(out, nowMicros);
      if (length > 0) return length;
      this.retiring = null;
    }
    return this.current.poll(out, nowMicros);
  }

  nextTimeoutMicros(): number {
    return this.retiring?.nextTimeoutMicros() ?? this.current.nextTimeoutMicros();
  }

  flushThrough(id: number, nowMicros: number): void {
    this.current.flushThrough(id, nowMicros);
  }

  coveredThrough(level: number): number {
    return this.change?.marks[level - 1] ?? this.current.coveredThrough(level);
  }

  spreadThrough(level: number): number {
    return this.change?.marks[level - 1] ?? this.current.spreadThrough(level);
  }

  release(id: number): void {
    if (this.change !== null && ((id - this.change.lastId) | 0) >= 0) this.change = null;
    this.current.release(id);
  }

  setParameters(parameters: CodeParameters, nowMicros: number): void {
    assert(this.retiring === null, "poll() must be drained before parameters change again");
    if (this.current instanceof LayeredEncoder && parameters.kind === "layered") {
      this.current.setParameters(parameters, nowMicros);
      return;
    }
    const next = encoderOf(parameters, this.current.idleMicros);
    if (this.lastId >= 0) this.retire(nowMicros);
    this.current = next;
  }

  private retire(nowMicros: number): void {
    const { current, lastId } = this;
    current.flushThrough(lastId, nowMicros);
    const levels = levelsOf(current.parameters);
    const marks = Array.from({ length: MAX_LEVELS }, (_, n) =>
      levels === 0 ? lastId : current.spreadThrough(Math.min(n + 1, levels)),
    );
    this.change ??= { lastId, marks };
    this.change = { ...this.change, lastId };
    this.retiring = current;
  }
}

function encoderOf(parameters: CodeParameters, idleMicros: number): KindEncoder {
  switch (parameters.kind) {
    case "layered":
      return new LayeredEncoder({ parameters, idleMicros });
    case "sliding-window":
      return new SlidingWindowEncoder(parameters, idleMicros);
    case "block":
      return new BlockEncoder(parameters, idleMicros);
  }
}
