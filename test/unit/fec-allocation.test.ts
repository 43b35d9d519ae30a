/** The codes work in place: nothing is allocated per packet, whatever the kind. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { type CodeParameters, DEFAULT_CODE } from "../../gateway/core/code/code.ts";
import { ErasureDecoder } from "../../gateway/core/code/decoder.ts";
import { ErasureEncoder } from "../../gateway/core/code/encoder.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Few enough that the collector need not run: what was allocated shows in the heap's size. */
const PACKETS = 12_000;
/**
 * As compiled it is less than one. The test runner's way of loading modules adds numbers that are
 * objects; one view for each repair would be 40 bytes more.
 */
const BYTES_PER_PACKET = 36;
const LOST_EVERY = 50;

const KINDS: readonly CodeParameters[] = [
  DEFAULT_CODE,
  { kind: "sliding-window", r: 8, c: 3, window: 64, density: 8 },
  { kind: "block", k: 8, m: 3, interleave: 4 },
];

/** Packets through encoder and decoder; every `LOST_EVERY`th is lost and rebuilt. */
class Path {
  rebuilt = 0;
  private id = 0;
  private readonly encoder: ErasureEncoder;
  private readonly decoder = new ErasureDecoder();
  private readonly packet = new Uint8Array(1000).fill(7);
  private readonly out: Uint8Array;
  /** A repair's whole buffer: they all have one length here. */
  private repair: Uint8Array = new Uint8Array(0);

  constructor(parameters: CodeParameters) {
    this.encoder = new ErasureEncoder({ parameters, idleMicros: Infinity });
    this.out = new Uint8Array(this.encoder.repairBytes(this.packet.length));
  }

  send(packets: number): void {
    for (const end = this.id + packets; this.id < end; this.id++) {
      this.encoder.push(this.id, this.packet, this.id);
      if (this.id % LOST_EVERY !== 0) this.decoder.handleData(this.id, this.packet);
      let length = this.encoder.poll(this.out, this.id);
      for (; length > 0; length = this.encoder.poll(this.out, this.id)) {
        if (this.repair.length !== length) this.repair = this.out.subarray(0, length);
        this.decoder.handleRepair(this.repair);
      }
      while (this.decoder.pollRebuilt() !== null) this.rebuilt++;
    }
  }
}

describe("encoder and decoder", () => {
  it.each(KINDS.map((code) => [code.kind, code] as const))(
    "of kind %s allocate nothing per packet",
    (_, parameters) => {
      const path = new Path(parameters);
      for (let i = 0; i < 4; i++) path.send(PACKETS);
      collect();
      const before = process.memoryUsage().heapUsed;
      path.send(PACKETS);
      const allocated = process.memoryUsage().heapUsed - before;
      expect(path.rebuilt).toBeGreaterThan((4 * PACKETS) / LOST_EVERY);
      expect(allocated / PACKETS).toBeLessThan(BYTES_PER_PACKET);
    },
  );
});
