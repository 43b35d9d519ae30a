/**
 * Asking the mirror for bytes of its log: a copy of what is damaged here. One question at a time, of at
 * most `COPY_BYTES`; it is answered, or the conversation ends. The caller verifies what comes.
 */
import { viewOf } from "../../lib/codec.ts";
import type { Address } from "../../logfs/core/log/api.ts";
import { decodeCopy, FRAME, frame, ReadRange } from "./messages.ts";

/** Bytes of one answer, at most: it waits behind nothing, and nothing waits behind it for long. */
export const COPY_BYTES = 64 * 2 ** 10;

interface Question {
  readonly id: number;
  readonly done: (bytes: Uint8Array | null) => void;
}

export class CopyRequests {
  private question: Question | null = null;
  private lastId = 0;

  /** null: the mirror has nothing there, is asked already, or the conversation ended. */
  ask(
    { segment, offset }: Address,
    length: number,
    send: (frame: Uint8Array) => void,
  ): Promise<Uint8Array | null> {
    if (this.question !== null || length > COPY_BYTES) return Promise.resolve(null);
    const id = ++this.lastId;
    return new Promise((done) => {
      this.question = { id, done };
      send(frame(FRAME.read, ReadRange, { id, segment, offset, length }));
    });
  }

  /** Throws `SmfsError` DAMAGED or SHORT. */
  handleAnswer(payload: Uint8Array): void {
    const { id, bytes } = decodeCopy(payload);
    const { question } = this;
    if (question?.id !== id) return;
    this.question = null;
    question.done(bytes.length === 0 ? null : bytes.slice());
  }

  /** Nothing that was asked will be answered. */
  cancel(): void {
    this.question?.done(null);
    this.question = null;
  }
}

/** Decodes the question at the mirror. */
export function readRangeOf(payload: Uint8Array): { id: number; at: Address; length: number } {
  const { id, segment, offset, length } = ReadRange.decode(viewOf(payload), 0);
  return { id, at: { segment, offset }, length };
}
