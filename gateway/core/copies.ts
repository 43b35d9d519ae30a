/**
 * Extra repairs on demand: plain copies of the packets that somebody waits for, when the repairs
 * of all layers have left and the risk is still above the target.
 *
 * Only for a message that stands nearly alone: with more in flight than MAX_COPIED_PACKETS the
 * target is met by the code and by acknowledgements, and copies would only crowd the line.
 */
import type { Flight } from "./flight.ts";
import { MAX_COPIES } from "./protection.ts";
import type { Safety } from "./safety.ts";

/** A 64 kB message. */
export const MAX_COPIED_PACKETS = 48;

export class CopyPlan {
  private readonly flight: Flight;
  private readonly safety: Safety;
  private readonly ids: number[] = [];

  constructor(flight: Flight, safety: Safety) {
    this.flight = flight;
    this.safety = safety;
  }

  get isPending(): boolean {
    return this.ids.length > 0;
  }

  /** The next id to copy, or −1. */
  next(): number {
    for (;;) {
      const id = this.ids.shift();
      if (id === undefined) return -1;
      if (this.flight.isLive(id) && this.safety.hasRoomForCopy) return id;
    }
  }

  /** Plans one more copy of everything unacknowledged below `offset`. */
  plan(offset: number): void {
    const { flight } = this;
    if (this.isPending) return;
    for (let s = flight.firstSegment; s < flight.nextSegment; s++) {
      if (flight.offsetOf(s) >= offset) return;
      if (flight.isAcknowledged(s) || flight.isLost(s)) continue;
      const id = flight.currentIdOf(s);
      if (!this.safety.hasAllLayers(id)) continue;
      if (this.safety.copiesOf(id) < MAX_COPIES) this.ids.push(id);
      if (this.ids.length > MAX_COPIED_PACKETS) {
        this.ids.length = 0;
        return;
      }
    }
  }
}
