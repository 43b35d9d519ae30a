/**
 * The responder's way to a session: answers inits, and waits for the keys to be confirmed.
 *
 * An answered init is half-open and changes nothing until the initiator's first sealed packet
 * verifies, so a replayed init cannot end a live session. A flood costs little:
 *  - an init of a stranger costs a look at its key id, and one HMAC if it names our pair;
 *  - a replay costs that and a key exchange each 50 ms at most, over all peers of the socket;
 *  - of the half-open handshakes the oldest go first, by the initiator's time: replays are older
 *    than the handshake that a flood is meant to keep out, which is answered at once.
 */
import type { CryptoPort } from "../../../lib/ports.ts";
import { equalBytes } from "../../../lib/bytes.ts";
import { viewOf } from "../../../lib/codec.ts";
import type { Answers } from "./answers.ts";
import { type HalfOpen, type HandshakeSecrets, initVerifies, respond } from "./handshake.ts";
import { HandshakeInit, NOTICE } from "./packets.ts";
import { SealedChannel } from "./sealed.ts";

/** Half-open handshakes of one peer. */
export const MAX_HALF_OPEN = 4;

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
  private readonly answers: Answers;
  /** By the initiator's time, oldest first. */
  private candidates: readonly Candidate[] = [];
  /** Time in the init of the youngest session that was confirmed. */
  private confirmedTimestampMicros = -1;
  /** Latest time in an init that was answered. */
  private newestTimestampMicros = -1;

  constructor(crypto: CryptoPort, secrets: HandshakeSecrets, answers: Answers) {
    this.crypto = crypto;
    this.secrets = secrets;
    this.answers = answers;
  }

  get halfOpen(): number {
    return this.candidates.length;
  }

  /** `heldId`: the live session, 0 for none. An init that is not younger than it is a replay. */
  handleInit(init: Uint8Array, nowMicros: number, heldId: number): InitAnswer {
    if (init.length !== HandshakeInit.size) return IGNORED;
    const { sender, timestampMicros } = HandshakeInit.decode(viewOf(init), 0);
    if (!initVerifies(this.crypto, this.secrets, init)) {
      return {
        verdict: "wrongKey",
        reply: this.answers.notice(NOTICE.wrongKey, sender, nowMicros),
      };
    }
    if (heldId !== 0 && timestampMicros <= this.confirmedTimestampMicros) return IGNORED;
    const known = this.candidates.find(({ halfOpen }) => equalBytes(halfOpen.init, init));
    if (known !== undefined) return { verdict: "answered", reply: known.halfOpen.response };
    // A wall clock may have been set back: an older init is slow, but not lost.
    const isNewest = timestampMicros > this.newestTimestampMicros;
    if (!isNewest && !this.answers.takeOldInit(nowMicros)) return IGNORED;
    this.newestTimestampMicros = Math.max(this.newestTimestampMicros, timestampMicros);
    return { verdict: "answered", reply: this.answer(init, heldId) };
  }

  private answer(init: Uint8Array, heldId: number): Uint8Array {
    const halfOpen = respond(this.crypto, this.secrets, init, heldId);
    const channel = new SealedChannel(this.crypto, halfOpen);
    const all = [...this.candidates, { halfOpen, channel }].toSorted(byTime);
    for (const { channel: old } of all.slice(0, -MAX_HALF_OPEN)) old.erase();
    this.candidates = all.slice(-MAX_HALF_OPEN);
    return halfOpen.response;
  }

  /** An init of another version, of which only the prefix and the session id are understood. */
  handleOtherVersion(init: Uint8Array, nowMicros: number): InitAnswer {
    const idEnd = HandshakeInit.offsetOf("sender") + 4;
    if (init.length < SMALLEST_INIT_BYTES) return IGNORED;
    const sender = viewOf(init).getUint32(idEnd - 4, true);
    const reply = this.answers.notice(NOTICE.otherVersion, sender, nowMicros);
    return { verdict: "otherVersion", reply };
  }

  /** For a sealed datagram of a session from before a restart; null when too many were told. */
  handleUnknownSession(sessionId: number, nowMicros: number): Uint8Array | null {
    return this.answers.notice(NOTICE.unknownSession, sessionId, nowMicros);
  }

  /** The half-open handshake that a sealed datagram for `sessionId` may confirm. */
  find(sessionId: number): Candidate | undefined {
    return this.candidates.find(({ halfOpen }) => halfOpen.ownId === sessionId);
  }

  confirm(confirmed: Candidate): void {
    this.confirmedTimestampMicros = confirmed.halfOpen.timestampMicros;
    for (const each of this.candidates) if (each !== confirmed) each.channel.erase();
    this.candidates = [];
  }
}

/** Of version 1; an init of any version is far longer than the notice that answers it. */
const SMALLEST_INIT_BYTES = 80;

function byTime(a: Candidate, b: Candidate): number {
  return a.halfOpen.timestampMicros - b.halfOpen.timestampMicros;
}
