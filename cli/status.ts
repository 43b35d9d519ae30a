/** `smfs status STORE`: what the site that runs on a store says of itself. */
import { Command } from "commander";
import { StoreRegistry } from "../logfs/log/registry.ts";
import { formatBytes } from "../lib/units.ts";
import type {
  CleanerStatus,
  MirrorStatus,
  NetworkStatus,
  SiteStatus,
} from "../web/status-types.ts";
import { askControl } from "./control.ts";
import { storeOf } from "./mountpoints.ts";

export function statusCommand(): Command {
  return new Command("status")
    .description("state of the site that runs on a store")
    .argument("<store>", "the store's directory, or where it is mounted")
    .option("--json", "print everything as one JSON object")
    .action(async (path: string, { json }: { json?: true }) => {
      const status = await siteStatus(path);
      process.stdout.write(json ? `${JSON.stringify(status)}\n` : describe(status));
    });
}

export function siteStatus(path: string): Promise<SiteStatus> {
  const registry = StoreRegistry.open(storeOf(path));
  return askControl<SiteStatus>(registry.controlSocket, "GET /status");
}

function describe(status: SiteStatus): string {
  const { store, mount, sync, mirror, network } = status;
  const lines = [
    `${status.role} ${store.path}: ${status.state}`,
    ...(store.failure === null ? [] : [`  FAILED   ${store.failure}`]),
    `  mount    ${mount === null ? "none" : `${mount.point}${mount.readOnly ? " (read-only)" : ""}`}`,
    `  log      ${store.logId}, epoch ${store.epoch}, record ${store.headSequence} (durable ${store.durableSequence})`,
    `  space    ${formatBytes(store.dataBytes)} in files, ${store.inodes} inodes, ${formatBytes(store.freeBytes)} free`,
    ...keptLines(store),
    ...cleanerLines(status.cleaner),
    `  sync     floor ${sync.floor}, fsync ${sync.fsync}, fdatasync ${sync.dataSync}, O_SYNC ${sync.osync}`,
    ...(sync.degraded + sync.failed === 0
      ? []
      : [`           ${sync.degraded} answered at local instead, ${sync.failed} failed`]),
    ...mirrorLines(mirror),
    ...networkLines(network),
  ];
  return `${lines.join("\n")}\n`;
}

function keptLines({ quotaBytes, quotaInodes, snapshots }: SiteStatus["store"]): string[] {
  const bytes = quotaBytes === null ? [] : [formatBytes(quotaBytes)];
  const inodes = quotaInodes === null ? [] : [`${quotaInodes} inodes`];
  const limits = [...bytes, ...inodes];
  return [
    ...(limits.length === 0 ? [] : [`  quota    ${limits.join(", ")}`]),
    ...(snapshots === 0 ? [] : [`  kept     ${snapshots} snapshots`]),
  ];
}

function cleanerLines(cleaner: CleanerStatus | null): string[] {
  if (cleaner === null) return [];
  const { utilisation, cleanedSegments, movedBytes, waiting, trouble, setAsideSegments } = cleaner;
  const use = `${Math.round(utilisation * 100)} % of the log alive`;
  const work = `${cleanedSegments} segments cleaned, ${formatBytes(movedBytes)} moved`;
  const lines = [`  cleaner  ${use}, ${work}${waiting === 0 ? "" : `, ${waiting} wait for space`}`];
  if (setAsideSegments > 0) lines.push(`           ${setAsideSegments} segments cannot be emptied`);
  if (trouble !== null) lines.push(`           last trouble: ${trouble}`);
  return lines;
}

export function mirrorLines(mirror: MirrorStatus | null): string[] {
  if (mirror === null) return ["  mirror   none configured"];
  const behind = `record ${mirror.acknowledgedSequence} there, ${formatBytes(mirror.notAtMirrorBytes)} not there yet`;
  const lag = mirror.lagSeconds === null ? "unknown" : `${mirror.lagSeconds.toFixed(3)} s`;
  const reason = mirror.reason === null ? "" : `: ${mirror.reason}`;
  return [`  mirror   ${mirror.peer} ${mirror.state}${reason}`, `           ${behind}, lag ${lag}`];
}

function networkLines(network: NetworkStatus | null): string[] {
  if (network === null) return [];
  const { dataPackets, repairPackets, lost, rebuilt, retransmitted } = network;
  return [
    `  network  ${dataPackets} data and ${repairPackets} repair packets, ${lost} lost, ${rebuilt} rebuilt, ${retransmitted} sent again, round trip ${network.roundTripMillis.toFixed(1)} ms`,
  ];
}
