import { it } from "vitest";
import { World } from "./transport-world.ts";
it("x", () => {
 for (const [share, target, bulkEveryMs, delayMicros] of [[0.005,1e-6,0,50000],[0.005,1e-4,0,50000],[0.005,1e-6,5,50000],[0.005,1e-4,5,50000],[0.005,1e-3,5,50000],[0.01,1e-4,5,50000],[0.01,1e-4,1,50000],[0.005,1e-4,1,50000],[0.005,1e-3,1,50000],[0.005,1e-6,1,50000]] as const) {
  const world = new World({ seed: 1, path: { delayMicros, loss: { kind: "independent", share } }, config: {targetRisk: target} });
  world.a.write(8 * 2 ** 20);
  world.run(60e6, () => world.a.link.acknowledgedOffset === 8*2 ** 20);
  const waits: number[] = [];
  let nextBulk = world.nowMicros;
  const before = {...world.a.link.statistics};
  for (let i = 0; i < 60; i++) {
    const start = world.nowMicros;
    world.a.write(4096);
    const end = world.a.link.writtenOffset; world.a.link.hurry(end);
    let safeAt = 0;
    for (;;) {
      if (bulkEveryMs > 0 && world.nowMicros >= nextBulk) { world.a.write(65536); nextBulk += bulkEveryMs * 1000; }
      const until = bulkEveryMs > 0 ? nextBulk : start + 5000;
      if (world.run(Math.min(until, start+400000), () => world.a.link.safeOffset >= end)) { safeAt = world.nowMicros; break; }
    }
    waits.push(safeAt - start);
    world.run(world.nowMicros + 2000);
  }
  waits.sort((a, b) => a - b);
  const s = world.a.link.statistics;
  console.log("ZZ", share, target, "bulk64k/ms", bulkEveryMs, "p50", waits[30], "p90", waits[54], "max", waits[59], "data", s.dataPacketsSent-before.dataPacketsSent, "repair", s.repairPacketsSent-before.repairPacketsSent, s.paceBitsPerSecond, s.lossEstimate.toFixed(4), s.burstEstimate.toFixed(2));
 }
});
