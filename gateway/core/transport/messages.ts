/**
 * Messages: datagrams of the user beside the streams, at most one packet long, delivered as soon as
 * they arrive or are rebuilt, in any order, once at most, and never sent again.
 *
 * A *protected* message is a data packet like those of the streams: it has an id in the code, and
 * repairs cover it. A *bare* one is sealed and nothing else: no id, no repair, no acknowledgement.
 */
export type MessageMode = "protected" | "bare";

/** Of a message that is handed over; one object, filled anew each time. */
export interface MessageInfo {
  readonly mode: MessageMode;
  /** In the code; −1 for a bare message. */
  readonly id: number;
  /** The packet was lost; this is what the code made of its repairs. */
  readonly isRebuilt: boolean;
}

export interface MessageHandler {
  /** `bytes` are valid during the call only. */
  onMessage(bytes: Uint8Array, info: MessageInfo): void;
  /** A protected message left the queue and has its id. `token` came with `sendMessage`. */
  onMessageSent(id: number, token: number): void;
  /** The message is not known to have arrived, and the code has had its chance. */
  onMessageLost(id: number): void;
  /**
   * All ids below `endId` have left this machine, and so have their repairs of at least `layers`
   * different layers. Called for each number of layers that advanced, 0 (data only) first. Ids
   * whose fate is known, acknowledged or lost, hold nothing back.
   */
  onCovered(layers: number, endId: number): void;
}
