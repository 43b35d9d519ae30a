/**
 * The newcomer's first minute: both mounts, a page to watch them on, and one live line.
 */
import type { SiteStatus, SitesStatus } from "../../web/status-types.ts";
import { createStatusServer } from "../../web/serve.ts";
import { formatBytes } from "../../lib/units.ts";
import { pause } from "./processes.ts";
import type { World } from "./world.ts";

const REFRESH_MILLIS = 1000;
/** Files that a demonstration without mounts writes, over and over. */
const SAMPLES = 100;

export async function runLive(world: World, stopped: Promise<void>): Promise<void> {
  process.stdout.write("starting two sites and the WAN between them …\n");
  let ended = false;
  void stopped.then(() => {
    ended = true;
  });
  await Promise.race([world.start(), stopped]);
  if (ended) return;
  let current: SitesStatus = { sites: [], wan: null };
  const server = await createStatusServer({
    host: "127.0.0.1",
    port: 0,
    status: () => current,
    metrics: () => world.metrics("primary"),
  });
  process.stdout.write(
    [
      `  primary  ${world.access.describe(world.primary)}`,
      `  mirror   ${world.access.describe(world.mirror)}`,
      `  status   ${server.url}`,
      "  Ctrl-C ends everything and leaves nothing behind.",
      "",
    ].join("\n"),
  );
  let previousBytes = 0;
  for (let sample = 0; !ended; sample++) {
    await world.access.writeSample(sample % SAMPLES);
    current = await look(world);
    const primary = current.sites[0];
    if (primary !== undefined) {
      showLine(primary, current, primary.throughput.writeBytesTotal - previousBytes);
      previousBytes = primary.throughput.writeBytesTotal;
    }
    await Promise.race([pause(REFRESH_MILLIS), stopped]);
  }
  process.stdout.write("\nunmounting …\n");
  await server.close();
}

async function look(world: World): Promise<SitesStatus> {
  const [primary, mirror, wan] = await Promise.all([
    world.status("primary"),
    world.status("mirror"),
    world.wan.statistics(),
  ]);
  const sites = [primary, mirror].filter((site): site is SiteStatus => site !== undefined);
  return { sites, wan };
}

function showLine(primary: SiteStatus, { wan }: SitesStatus, bytesPerSecond: number): void {
  const { network, mirror, sync } = primary;
  const parts = [
    `${formatBytes(bytesPerSecond)}/s`,
    `fsync ${sync.fsync}`,
    `${formatBytes(mirror?.notAtMirrorBytes ?? 0)} not at the mirror`,
    `lost ${wan?.aToB.lost ?? 0}`,
    `rebuilt ${network?.rebuilt ?? 0}`,
    `resent ${network?.retransmitted ?? 0}`,
  ];
  const line = parts.join("  ");
  process.stdout.write(process.stdout.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
}
