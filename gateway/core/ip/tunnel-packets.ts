/** The messages of the tunnel mode: one byte, then an IP packet. */
import { struct, u8 } from "../../../lib/codec.ts";

/**
 * `undone`: the transport's checksum field holds the pseudo-header's sum only. The association
 * authenticates every byte, so nobody need compute what the receiving kernel can fill in.
 */
export const TUNNEL = { complete: 1, undone: 2 } as const;

export const TunnelMessage = struct("tunnel message", {
  kind: u8("TUNNEL.complete or TUNNEL.undone: the state of the transport's checksum"),
});
