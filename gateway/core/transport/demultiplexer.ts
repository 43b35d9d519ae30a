/**
 * Several associations on one socket: whose a datagram is.
 *
 * Datagrams name a session or, inits, a pair of peers; both are looked at only, nothing is computed.
 * A claim is no proof: the association that is found verifies. Session ids are random, so that two
 * associations may have one; then both are asked. What nobody claims is a stranger's, and gets at
 * most a notice of 8 bytes each 100 ms. While there is one association only, everything is its own:
 * it tells people what is wrong with their keys.
 */
import { viewOf } from "../../../lib/codec.ts";
import type { Answers } from "./answers.ts";
import type { Association, Verdict } from "./association.ts";
import { DATAGRAM, DatagramAddress, HandshakeInit, NOTICE, PROTOCOL_VERSION } from "./packets.ts";

export interface Member {
  readonly association: Pick<Association, "claims">;
}

export interface DemultiplexerStatistics {
  /** Datagrams that no association claimed. */
  strangers: number;
}

export class Demultiplexer<T extends Member> {
  readonly statistics: DemultiplexerStatistics = { strangers: 0 };
  private readonly answers: Answers;
  private members: readonly T[] = [];

  /** `answers` are those of the associations, too. */
  constructor(answers: Answers) {
    this.answers = answers;
  }

  get size(): number {
    return this.members.length;
  }

  add(member: T): void {
    this.members = [...this.members, member];
  }

  remove(member: T): void {
    this.members = this.members.filter((each) => each !== member);
  }

  get all(): readonly T[] {
    return this.members;
  }

  /**
   * Hands a datagram to whoever claims it, until one says that it is authentic. The answer to a
   * stranger, for where it came from; null for none.
   */
  dispatch(
    datagram: Uint8Array,
    nowMicros: number,
    hand: (member: T, datagram: Uint8Array) => Verdict,
  ): Uint8Array | null {
    const [only] = this.members;
    if (only !== undefined && this.members.length === 1) {
      hand(only, datagram);
      return null;
    }
    let isClaimed = false;
    // Handlers may add and remove members: this walks those that were there.
    const { members } = this;
    for (const member of members) {
      if (!member.association.claims(datagram)) continue;
      isClaimed = true;
      if (hand(member, datagram) === "authentic") return null;
    }
    return isClaimed ? null : this.answerStranger(datagram, nowMicros);
  }

  private answerStranger(datagram: Uint8Array, nowMicros: number): Uint8Array | null {
    this.statistics.strangers++;
    if (datagram.length < DatagramAddress.size) return null;
    const { type, version, sessionId } = DatagramAddress.decode(viewOf(datagram), 0);
    if (type === DATAGRAM.sealed && version === PROTOCOL_VERSION) {
      return this.answers.notice(NOTICE.unknownSession, sessionId, nowMicros);
    }
    if (type !== DATAGRAM.init || datagram.length < HandshakeInit.size) return null;
    const code = version === PROTOCOL_VERSION ? NOTICE.wrongKey : NOTICE.otherVersion;
    return this.answers.notice(code, sessionId, nowMicros);
  }
}
