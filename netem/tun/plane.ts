/**
 * The data plane between two TUN devices: reads what a site sends, asks the emulated path what
 * becomes of it, and writes it to the other site when its time has come.
 *
 * For a thread of its own, which waits here and nowhere else. After a turn that found something the
 * thread rests for `REST_MICROS`, as network cards hold back interrupts: the next turn then finds
 * more packets at once, and a packet is late by that much at most (`statistics().lateMicrosTotal`
 * says by how much they were). None is ever early.
 */
import { EmulatedPath, type PathSettings } from "../core/path.ts";
import type { EmulatedLink } from "../core/link.ts";
import type { LinkChanges } from "../core/settings.ts";
import type { Direction, PathAction, TimelineEvent } from "../core/timeline.ts";
import type { ControlledPath, ShellStatistics } from "../control/controlled.ts";
import { PollSet } from "../../sys/poll.ts";
import type { TunDevice } from "../../sys/tun.ts";
import { PacketMemory } from "./packet-memory.ts";

/** Packets that are read from one site before the other is looked at. */
const BATCH = 64;
/** Each may be duplicated. */
const MOST_OF_BATCH = 2 * BATCH;
const REST_MICROS = 100;

export interface PlaneOptions {
  readonly deviceA: TunDevice;
  readonly deviceB: TunDevice;
  /** Longest packet of either device, IP header included. */
  readonly mtuBytes: number;
  readonly path: PathSettings;
  /** Readable when the thread has something else to look at. */
  readonly bellFd: number;
  onTimeline(event: TimelineEvent): void;
  /** Packets that the devices' queues had no room for, since the start. */
  countDrops(): number;
}

export interface TunStatistics extends ShellStatistics {
  /** Dropped in front of the path, unseen by it: the data plane came too late. */
  readonly deviceDrops: number;
}

/** Monotonic microseconds. */
function nowMicros(): number {
  return Math.floor(performance.now() * 1000);
}

export class TunPlane implements ControlledPath<TunStatistics> {
  private readonly options: PlaneOptions;
  private readonly path: EmulatedPath<number>;
  private readonly packets: PacketMemory;
  private readonly arrivals: PollSet;
  private readonly bell: PollSet;
  private readonly batch = new Uint32Array(BATCH);
  private readonly counts = { sendErrors: 0, lateMicrosTotal: 0, lateMicrosMax: 0 };

  constructor(options: PlaneOptions) {
    const { deviceA, deviceB, mtuBytes, bellFd } = options;
    this.options = options;
    this.packets = new PacketMemory(deviceA.headerBytes + mtuBytes);
    this.path = new EmulatedPath(options.path, nowMicros(), (packet) => this.packets.copy(packet));
    this.arrivals = new PollSet([bellFd, deviceA.fd, deviceB.fd]);
    this.bell = new PollSet([bellFd]);
  }

  configure(direction: Direction, changes: LinkChanges): void {
    this.apply(direction, { kind: "configure", changes });
  }

  cut(direction: Direction = "both"): void {
    this.apply(direction, { kind: "cut" });
  }

  restore(direction: Direction = "both"): void {
    this.apply(direction, { kind: "restore" });
  }

  statistics(): TunStatistics {
    return { ...this.path.statistics, ...this.counts, deviceDrops: this.options.countDrops() };
  }

  /** Works until the bell rings; what sites sent before that has then entered the path. */
  runUntilBell(): void {
    for (let isRung = false; ; ) {
      const isBusy = this.turn();
      if (isRung) return;
      const untilMicros = this.path.nextTimeoutMicros() - nowMicros();
      const waiting = isBusy ? this.bell : this.arrivals;
      waiting.wait(isBusy ? Math.min(REST_MICROS, untilMicros) : untilMicros);
      isRung = waiting.isReadable(0);
    }
  }

  /** Reads and delivers what is there now; whether there was something. */
  private turn(): boolean {
    const { deviceA, deviceB } = this.options;
    const { aToB, bToA } = this.path;
    for (const event of this.path.runTimeline(nowMicros())) this.options.onTimeline(event);
    let moved = 0;
    for (;;) {
      const fromA = this.read(deviceA, aToB);
      const fromB = this.read(deviceB, bToA);
      const delivered = this.deliver(aToB, deviceB) + this.deliver(bToA, deviceA);
      moved += fromA + fromB + delivered;
      // Without room packets wait in their devices, and others there are dropped, and counted.
      if (!this.packets.hasRoomFor(MOST_OF_BATCH)) return true;
      if (fromA < BATCH && fromB < BATCH) return moved > 0;
    }
  }

  /**
   * A batch enters at the time at which its last packet was read: a stamp from before would make the
   * path shorter for a packet that was sent while this thread was away.
   */
  private read(device: TunDevice, link: EmulatedLink<number>): number {
    const count = this.readBatch(device);
    const now = count === 0 ? 0 : nowMicros();
    for (let i = 0; i < count; i++) {
      const packet = this.batch[i] as number;
      const bytes = this.packets.length(packet) - device.headerBytes;
      if (link.send(packet, bytes, now) !== "queued") this.packets.release(packet);
    }
    return count;
  }

  private readBatch(device: TunDevice): number {
    const { packets } = this;
    if (!packets.hasRoomFor(MOST_OF_BATCH)) return 0;
    for (let count = 0; count < BATCH; count++) {
      const packet = packets.take();
      const length = device.read(packets.memory(packet), packets.offset(packet), packets.slotBytes);
      if (length === 0) {
        packets.release(packet);
        return count;
      }
      packets.setLength(packet, length);
      this.batch[count] = packet;
    }
    return BATCH;
  }

  private deliver(link: EmulatedLink<number>, device: TunDevice): number {
    const { packets, counts } = this;
    const now = nowMicros();
    for (let count = 0; ; count++) {
      const lateMicros = now - link.nextTimeoutMicros();
      const packet = link.poll(now);
      if (packet === null) return count;
      counts.lateMicrosTotal += lateMicros;
      counts.lateMicrosMax = Math.max(counts.lateMicrosMax, lateMicros);
      const memory = packets.memory(packet);
      const errno = device.write(memory, packets.offset(packet), packets.length(packet));
      if (errno !== 0) counts.sendErrors++;
      packets.release(packet);
    }
  }

  private apply(direction: Direction, action: PathAction): void {
    this.path.apply(direction, action, nowMicros());
  }
}
