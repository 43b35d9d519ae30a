/**
 * The responder's way to a session: answers inits, and waits for the keys to be confirmed.
 *
 * An answered init is half-open and changes nothing until the initiator's first sealed packet
 * verifies, so a replayed init cannot end a live session. Half-open handshakes, answers and notices
 * are bounded in number and rate, so that a flood costs little.
 */
import type { CryptoPort } from "../../lib/ports.ts";
import { equalBytes } from "../../lib/bytes.ts";
import { viewOf } from "../../lib/codec.ts";
import { type HalfOpen, type HandshakeSecrets, initVerifies, respond } from "./handshake.ts";
import { DATAGRAM, HandshakeInit, NOTICE, Notice, PROTOCOL_VERSION } from "./packets.ts";
import { SealedChannel } from "./sealed.ts";

const MAX_HALF_OPEN = 4;
/** At most this often an init costs us a key exchange … */
const ANSWER_MICROS = 10_000;
/** … or a stranger a notice. */
const NOTICE_MICROS = 100_000;

export interface Candidate {
  readonly halfOpen: HalfOpen;
  readonly channel: SealedChannel;
}

/** What an init led to. `reply` goes back to where it came from; null for silence. */
export interface InitAnswer {
  readonly verdict: "answered" | "ignored" | "wrongKey" | "otherVersion";
  readonly reply: Uint8Array | null;
}

const IGNORED: InitAnswer = { verdict: "ignored", reply: null };

export class Acceptor {
  private readonly crypto: CryptoPort;
  private readonly secrets: HandshakeSecrets;
  private candidates: readonly Candidate[] = [];
  /** Time in the init of the youngest session that was confirmed. */
  private confirmedTimestampMicros = -1;
  private nextAnswerMicros = -Infinity;
  private nextNoticeMicros = -Infinity;

  constructor(crypto: CryptoPort, secrets: HandshakeSecrets) {
    this.crypto = crypto;
    this.secrets = secrets;
  }

  /** `heldId`: the live session, 0 for none. An init that is not younger than it is a replay. */
  handleInit(init: Uint8Array, nowMicros: number, heldId: number): InitAnswer {
    if (init.length !== HandshakeInit.size) return IGNORED;
    const { sender, timestampMicros } = HandshakeInit.decode(viewOf(init), 0);
    if (!initVerifies(this.crypto, this.secrets, init)) {
      return { verdict: "wrongKey", reply: this.notice(NOTICE.wrongKey, sender, nowMicros) };
    }
    if (heldId !== 0 && timestampMicros <= this.confirmedTimestampMicros) return IGNORED;
    const known = this.candidates.find(({ halfOpen }) => equalBytes(halfOpen.init, init));
    if (known !== undefined) return { verdict: "answered", reply: known.halfOpen.response };
    if (nowMicros < this.nextAnswerMicros) return IGNORED;
    this.nextAnswerMicros = nowMicros + ANSWER_MICROS;
    return { verdict: "answered", reply: this.answer(init, heldId) };
  }

  private answer(init: Uint8Array, heldId: number): Uint8Array {
    const halfOpen = respond(this.crypto, this.secrets, init, heldId);
    const channel = new SealedChannel(this.crypto, halfOpen);
    this.candidates = [...this.candidates.slice(1 - MAX_HALF_OPEN), { halfOpen, channel }];
    return halfOpen.response;
  }

  /** An init of another version, of which only the prefix and the session id are understood. */
  handleOtherVersion(init: Uint8Array, nowMicros: number): InitAnswer {
    const idEnd = HandshakeInit.offsetOf("sender") + 4;
    if (init.length < HandshakeInit.size || init.length < idEnd) return IGNORED;
    const sender = viewOf(init).getUint32(idEnd - 4, true);
    return { verdict: "otherVersion", reply: this.notice(NOTICE.otherVersion, sender, nowMicros) };
  }

  /** For a sealed datagram of a session from before a restart; null when too many were told. */
  handleUnknownSession(sessionId: number, nowMicros: number): Uint8Array | null {
    return this.notice(NOTICE.unknownSession, sessionId, nowMicros);
  }

  private notice(code: number, receiver: number, nowMicros: number): Uint8Array | null {
    if (nowMicros < this.nextNoticeMicros) return null;
    this.nextNoticeMicros = nowMicros + NOTICE_MICROS;
    const out = new Uint8Array(Notice.size);
    const type = DATAGRAM.notice;
    Notice.encode(viewOf(out), 0, { type, version: PROTOCOL_VERSION, code, receiver });
    return out;
  }

  /** The half-open handshake that a sealed datagram for `sessionId` may confirm. */
  find(sessionId: number): Candidate | undefined {
    return this.candidates.find(({ halfOpen }) => halfOpen.ownId === sessionId);
  }

  confirm({ halfOpen }: Candidate): void {
    this.confirmedTimestampMicros = halfOpen.timestampMicros;
    this.candidates = [];
  }
}
