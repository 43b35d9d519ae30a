/**
 * A link's slowest hop: a rate and a queue of finite room in front of it, dropping at the tail.
 *
 * The backlog is kept as a fluid that drains at the rate, so a change of rate applies to what
 * still waits. Invariant: 0 ≤ backlog ≤ the room, plus the one packet that is being sent.
 */
export class Bottleneck {
  private rateBitsPerSecond: number;
  private roomBytes: number;
  private backlogBytes = 0;
  private drainedAtMicros = 0;

  constructor(rateBitsPerSecond: number, roomBytes: number) {
    this.rateBitsPerSecond = rateBitsPerSecond;
    this.roomBytes = roomBytes;
  }

  configure(rateBitsPerSecond: number, roomBytes: number, nowMicros: number): void {
    this.drain(nowMicros);
    this.rateBitsPerSecond = rateBitsPerSecond;
    this.roomBytes = roomBytes;
  }

  /** When the packet's last bit has left, or null when the queue has no room for it. */
  admit(bytes: number, nowMicros: number): number | null {
    if (this.rateBitsPerSecond === Infinity) return nowMicros;
    this.drain(nowMicros);
    if (this.backlogBytes > 0 && this.backlogBytes + bytes > this.roomBytes) return null;
    this.backlogBytes += bytes;
    return nowMicros + (this.backlogBytes * 8e6) / this.rateBitsPerSecond;
  }

  private drain(nowMicros: number): void {
    const elapsedMicros = Math.max(0, nowMicros - this.drainedAtMicros);
    const drainedBytes = (elapsedMicros * this.rateBitsPerSecond) / 8e6;
    // Infinity × 0 is not a number: an unlimited rate leaves nothing behind.
    this.backlogBytes =
      this.rateBitsPerSecond === Infinity ? 0 : Math.max(0, this.backlogBytes - drainedBytes);
    this.drainedAtMicros = Math.max(this.drainedAtMicros, nowMicros);
  }
}
