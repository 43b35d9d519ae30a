/**
 * Errors that a user's handler throws, kept apart from those for malformed packets: the first must
 * reach the user, the second mean that a datagram is refused.
 */
import type { MessageHandler } from "./messages.ts";

/** Carries what a handler threw, in `cause`. */
export class HandlerFailure extends Error {
  override name = "HandlerFailure";
}

/** Calls `handle`; what it throws comes out as `HandlerFailure`. */
export function guarded(handle: () => void): void {
  try {
    handle();
  } catch (cause) {
    throw new HandlerFailure("a link handler failed", { cause });
  }
}

/** For associations whose user does not care for messages. */
const NOBODY: MessageHandler = {
  onMessage() {},
  onMessageSent() {},
  onMessageLost() {},
  onCovered() {},
};

/** The handler, with what it throws inside `handleDatagram` as `HandlerFailure`. */
export function guardedMessages(handler: MessageHandler = NOBODY): MessageHandler {
  return {
    onMessage(bytes, info) {
      try {
        handler.onMessage(bytes, info);
      } catch (cause) {
        throw new HandlerFailure("a message handler failed", { cause });
      }
    },
    onMessageSent: (id, token) => handler.onMessageSent(id, token),
    onMessageLost: (id) => guarded(() => handler.onMessageLost(id)),
    onCovered: (layers, endId) => handler.onCovered(layers, endId),
  };
}
