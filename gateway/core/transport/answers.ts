/**
 * How often strangers and replays may cost us something, over all peers of one socket: what they
 * send is unauthenticated, or authentic but old, so its answers have a rate and not a number.
 */
import { viewOf } from "../../../lib/codec.ts";
import { DATAGRAM, Notice, PROTOCOL_VERSION } from "./packets.ts";

/** At most this often an init that is not the newest costs a key exchange … */
const OLD_INIT_MICROS = 50_000;
/** … or a stranger a notice. */
const NOTICE_MICROS = 100_000;

export class Answers {
  private nextOldInitMicros = -Infinity;
  private nextNoticeMicros = -Infinity;

  /** Whether an init that is not newer than all before it may be answered now. */
  takeOldInit(nowMicros: number): boolean {
    if (nowMicros < this.nextOldInitMicros) return false;
    this.nextOldInitMicros = nowMicros + OLD_INIT_MICROS;
    return true;
  }

  /** A notice about the datagram with this session id; null when too many were sent. */
  notice(code: number, receiver: number, nowMicros: number): Uint8Array | null {
    if (nowMicros < this.nextNoticeMicros) return null;
    this.nextNoticeMicros = nowMicros + NOTICE_MICROS;
    const out = new Uint8Array(Notice.size);
    const type = DATAGRAM.notice;
    Notice.encode(viewOf(out), 0, { type, version: PROTOCOL_VERSION, code, receiver });
    return out;
  }
}
