/** The initiator's way to a session: sends the init until it is answered, for ever. */
import type { CryptoPort } from "../../../lib/ports.ts";
import { viewOf } from "../../../lib/codec.ts";
import { finish, type Finished, type HandshakeSecrets, initiate } from "./handshake.ts";
import { keyAdvice } from "./credentials.ts";
import { NOTICE, Notice, PROTOCOL_VERSION } from "./packets.ts";

const FIRST_RETRY_MICROS = 250_000;
const LAST_RETRY_MICROS = 5_000_000;

export class Connector {
  private readonly crypto: CryptoPort;
  private readonly secrets: HandshakeSecrets;
  private readonly initiation: ReturnType<typeof initiate>;
  private retryMicros = FIRST_RETRY_MICROS;
  private nextInitMicros: number;

  /** The first init leaves at `startMicros`; `timestampMicros` is wall time. */
  constructor(
    crypto: CryptoPort,
    secrets: HandshakeSecrets,
    timestampMicros: number,
    startMicros: number,
  ) {
    this.crypto = crypto;
    this.secrets = secrets;
    this.initiation = initiate(crypto, secrets, timestampMicros);
    this.nextInitMicros = startMicros;
  }

  /** Session id of the init. */
  get ownId(): number {
    return this.initiation.ownId;
  }

  get nextTimeoutMicros(): number {
    return this.nextInitMicros;
  }

  poll(out: Uint8Array, nowMicros: number): number {
    if (nowMicros < this.nextInitMicros) return 0;
    this.nextInitMicros = nowMicros + this.retryMicros;
    this.retryMicros = Math.min(LAST_RETRY_MICROS, 2 * this.retryMicros);
    out.set(this.initiation.datagram);
    return this.initiation.datagram.length;
  }

  /** Null when the response is not an authentic answer to our init. */
  handleResponse(response: Uint8Array): Finished | null {
    return finish(this.crypto, this.secrets, this.initiation, response);
  }

  /** A sentence for people when the notice answers our init, else null. */
  handleNotice(datagram: Uint8Array): string | null {
    const notice = Notice.decode(viewOf(datagram), 0);
    if (notice.receiver !== this.initiation.ownId) return null;
    this.retryMicros = LAST_RETRY_MICROS;
    switch (notice.code) {
      case NOTICE.wrongKey:
        return `the peer does not accept our key: ${keyAdvice(this.secrets.statics)} (unauthenticated notice)`;
      case NOTICE.otherVersion:
        return `the peer speaks protocol version ${notice.version}, this side ${PROTOCOL_VERSION} (unauthenticated notice)`;
      default:
        return null;
    }
  }
}
