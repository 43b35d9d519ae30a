/**
 * The other site's bytes of the log, to take the place of what is damaged here: both sides ask, and
 * both answer. One question at a time, of at most `COPY_BYTES`; it is answered, or the conversation
 * ends. The caller verifies what comes.
 */
import { viewOf } from "../../lib/codec.ts";
import type { Address, LogReader } from "../../logfs/core/log/api.ts";
import { copyFrame, decodeCopy, FRAME, frame, ReadRange } from "./messages.ts";

/** Bytes of one answer, at most: it waits behind nothing, and nothing waits behind it for long. */
const COPY_BYTES = 64 * 2 ** 10;
const NOTHING = new Uint8Array(0);

export interface CopiesOptions {
  readonly send: (frame: Uint8Array) => void;
  /** Null while there is none. */
  readonly log: () => LogReader | null;
  /** The conversation has come so far that both speak of the same log. */
  readonly mayAsk: () => boolean;
}

interface Question {
  readonly id: number;
  readonly done: (bytes: Uint8Array | null) => void;
}

export class Copies {
  private readonly options: CopiesOptions;
  private question: Question | null = null;
  private lastId = 0;
  /** Answers of an earlier conversation are not given in the next. */
  private conversation = 0;

  constructor(options: CopiesOptions) {
    this.options = options;
  }

  /** null: the other site has not all of it, or is asked already, or cannot be asked. */
  async read({ segment, offset }: Address, length: number): Promise<Uint8Array | null> {
    const whole = new Uint8Array(length);
    for (let at = 0; at < length; at += COPY_BYTES) {
      const wanted = Math.min(COPY_BYTES, length - at);
      const part = await this.ask({ segment, offset: offset + at }, wanted);
      if (part?.length !== wanted) return null;
      whole.set(part, at);
    }
    return whole;
  }

  private ask({ segment, offset }: Address, length: number): Promise<Uint8Array | null> {
    if (this.question !== null || !this.options.mayAsk()) return Promise.resolve(null);
    const id = ++this.lastId;
    return new Promise((done) => {
      this.question = { id, done };
      this.options.send(frame(FRAME.read, ReadRange, { id, segment, offset, length }));
    });
  }

  /** Only what is durable here is given away, so the newest of it is waited for. */
  handleQuestion(payload: Uint8Array): void {
    const { id, segment, offset, length } = ReadRange.decode(viewOf(payload), 0);
    const log = this.options.log();
    const { conversation } = this;
    const answer = (bytes: Uint8Array): void => {
      if (conversation === this.conversation) this.options.send(copyFrame(id, bytes));
    };
    if (log === null || length > COPY_BYTES) return answer(NOTHING);
    log.whenDurable(log.head.sequence, (failure) => {
      if (failure !== null) return answer(NOTHING);
      log.read({ segment, offset }, length, (error, bytes) =>
        answer(error === null ? bytes : NOTHING),
      );
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

  /** The conversation has ended: nothing that was asked will be answered. */
  cancel(): void {
    this.conversation++;
    this.question?.done(null);
    this.question = null;
  }
}
