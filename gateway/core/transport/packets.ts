/**
 * Every layout the transport puts on the wire, version 2.
 *
 * A datagram begins with its type and the protocol version; that and the session id behind them
 * keep their places in every version, so that versions can refuse one another politely.
 * Handshake datagrams are authenticated by what the peers share, sealed ones by the session's keys,
 * notices by nothing: a notice may inform a person or lead to a handshake, whose result counts.
 *
 * Inside a sealed datagram stands one inner packet. Data packets pass through the erasure code:
 * what the code sees is the part behind `DataHeader`, which is one frame: a piece of a stream, or a
 * message. A bare packet holds a message too, but outside the code: it has no id, and nobody
 * acknowledges it.
 */
import { bytes, f64, type Infer, reserved, struct, u8, u16, u32, u64 } from "../../../lib/codec.ts";

export const PROTOCOL_VERSION = 2;

export const DATAGRAM = { init: 1, response: 2, sealed: 3, notice: 4 } as const;

/** What every datagram of every version begins with. */
export const DatagramPrefix = struct("datagram prefix", {
  type: u8("one of DATAGRAM"),
  version: u8("protocol version of the sender"),
});

/** Type and session id stand in the same places in every datagram. */
export const DatagramAddress = struct("datagram address", {
  type: u8("one of DATAGRAM"),
  version: u8("protocol version of the sender"),
  varies: u16("of no meaning here"),
  sessionId: u32("in an init the sender's, else the receiver's; in a notice as in what it answers"),
});

export const HandshakeInit = struct("handshake init", {
  type: u8("DATAGRAM.init"),
  version: u8("protocol version"),
  zero: reserved(2),
  sender: u32("initiator's session id, random"),
  timestampMicros: u64("initiator's wall clock, microseconds since 1970; later in each handshake"),
  keyId: bytes(16, "which pair of peers this is, derived from what they share"),
  ephemeral: bytes(32, "initiator's X25519 public key (RFC 7748)"),
  mac: bytes(32, "HMAC-SHA-256 over everything before, key derived from what the peers share"),
});

export const HandshakeResponse = struct("handshake response", {
  type: u8("DATAGRAM.response"),
  version: u8("protocol version"),
  zero: reserved(2),
  receiver: u32("initiator's session id"),
  sender: u32("responder's session id, random"),
  held: u32("responder's id of the session it has, which goes on until this one is used; 0: none"),
  ephemeral: bytes(32, "responder's X25519 public key"),
  proof: bytes(16, "first half of HMAC-SHA-256 as below, key from all secrets of the handshake"),
  mac: bytes(32, "HMAC-SHA-256 over the init and everything before"),
});

/** Smaller than any request, so that it cannot amplify. */
export const Notice = struct("notice", {
  type: u8("DATAGRAM.notice"),
  version: u8("protocol version of the answering side"),
  code: u8("one of NOTICE"),
  zero: reserved(1),
  receiver: u32(
    "session id in the datagram this answers: an init's sender, a sealed one's receiver",
  ),
});

export const NOTICE = { wrongKey: 1, otherVersion: 2, unknownSession: 3 } as const;

/** The associated data of the AEAD; ciphertext and 16-byte tag follow. */
export const SealedHeader = struct("sealed header", {
  type: u8("DATAGRAM.sealed"),
  version: u8("protocol version"),
  epoch: u16("which keys: counts from 0 in a session, modulo 2^16"),
  receiver: u32("receiver's session id"),
  packetNumber: u64("counts the sender's datagrams of this epoch; the nonce"),
});

export const TAG_BYTES = 16;
export const SEALED_OVERHEAD_BYTES = SealedHeader.size + TAG_BYTES;

export const INNER = {
  data: 1,
  repair: 2,
  ack: 3,
  ping: 4,
  pong: 5,
  close: 6,
  /** A message outside the code; its bytes follow the kind. */
  bare: 7,
  keyRequest: 16,
  keyAnswer: 17,
} as const;

/** As long as what stands before a repair, so that full datagrams of both kinds have one length. */
export const DataHeader = struct("data header", {
  kind: u8("INNER.data"),
  zero: reserved(10),
  unsettled: u16("id − oldest id whose fate the sender still waits for; below ID_WINDOW"),
  id: u32("number of this packet in the code, from 0, never reused in a session"),
});

/** Ids in flight that either side keeps books for: 45 MB of full datagrams. A power of two. */
export const ID_WINDOW = 32768;

/** What a frame begins with. */
export const FRAME = { stream: 1, message: 2 } as const;

/** Streams of one association; those with higher numbers are refused. */
export const MAX_STREAMS = 16;

export const StreamFrame = struct("stream frame", {
  type: u8("FRAME.stream"),
  stream: u8("number of the stream, below MAX_STREAMS; 0 is the link"),
  offset: u64("place of the bytes that follow in the sender's stream"),
});

export const MessageFrame = struct("message frame", {
  type: u8("FRAME.message; the message follows"),
});

/** What stands before the stream bytes of a data packet. */
export const DATA_OVERHEAD_BYTES = DataHeader.size + StreamFrame.size;

export const BareHeader = struct("bare header", {
  kind: u8("INNER.bare; the message follows"),
});

export const RepairHeader = struct("repair header", {
  kind: u8("INNER.repair; the code's repair packet follows"),
});

export const Ack = struct("ack", {
  kind: u8("INNER.ack"),
  streams: u8("number of stream credits that follow, before the bitmap"),
  bitmapBytes: u16("length of the bitmap behind them"),
  baseId: u32("every id below is had, or was settled by the sender"),
  endId: u32("1 + highest id had"),
  echoId: u32("the id that arrived in a data packet last, when echoValid"),
  echoValid: u32("1 when echoId and echoDelayMicros mean something"),
  echoDelayMicros: u32("time between the arrival of echoId and this ack"),
  lostPackets: u64("data packets lost before repair, so far"),
  rebuiltPackets: u64("of these, rebuilt by the code"),
  unrecoverablePackets: u64("of these, settled by the sender without having been rebuilt"),
  loss: f64("share of packets lost, upper bound"),
  burst: f64("mean length of a run of lost packets, upper bound"),
  judgedPackets: u64("data packets that came or were overtaken by 64, before repair"),
  missedPackets: u64("of these, those that did not come, in runs that ended"),
  runs1: u32("such runs, of one packet"),
  runs2: u32("of two"),
  runs4: u32("of three or four, and so on"),
  runs8: u32("of 5 to 8"),
  runs16: u32("of 9 to 16"),
  runs32: u32("of 17 to 32"),
  runs64: u32("of 33 to 64"),
  runsLonger: u32("of more"),
  overtakenBy: u32("the most packets that overtook one which still came"),
  zero: reserved(4),
});
export type AckFields = Infer<typeof Ack>;

/** One for each stream that has carried anything, in ascending order of their numbers. */
export const StreamCredit = struct("stream credit", {
  stream: u8("number of the stream"),
  zero: reserved(7),
  deliveredOffset: u64("stream bytes handed to the process"),
  limitOffset: u64("stream bytes the sender may send"),
});
export type StreamCreditFields = Infer<typeof StreamCredit>;

/** Bitmap of ids had: bit i of byte j stands for id (baseId − baseId mod 8) + 8 j + i. */
export const MAX_BITMAP_BYTES = 1024;

/** Ping and pong: the pong carries the ping's time back. What follows in a ping is padding, so that
 * it is as long as the datagrams whose way it explores (`path-mtu.ts`). */
export const Echo = struct("echo", {
  kind: u8("INNER.ping or INNER.pong"),
  zero: reserved(1),
  bytes: u16("in a pong: length of the ping's datagram; 0 in a ping"),
  settledId: u32("in a ping: the sender waits for no id below; 0 in a pong"),
  sentMicros: u64("sender's monotonic clock, microseconds; meaningful to the pinger only"),
});

/** New keys for both directions: the initiator asks, the responder answers, each with a fresh key. */
export const KeyExchange = struct("key exchange", {
  kind: u8("INNER.keyRequest or INNER.keyAnswer"),
  zero: reserved(3),
  epoch: u32("the epoch that the new keys are for, not reduced"),
  ephemeral: bytes(32, "sender's X25519 public key, used for this epoch only"),
});

export const Close = struct("close", {
  kind: u8("INNER.close"),
});
