/**
 * The gateway's benchmark: real TUN devices, namespaces and TCP over an emulated path, without a
 * gateway, with ours in both modes, and with kcptun (Debian) beside it. Needs root and iperf3.
 */
import { type Arrangement, arrange, type ArrangementName } from "./arrangements.ts";
import { isInstalled, type LossSetting, type PathSettings, Sites } from "./sites.ts";
import {
  type Bulk,
  type CongestionControl,
  type Latency,
  measureBulk,
  measureMessages,
  type MessageOrder,
} from "./traffic.ts";

export interface GatewayOptions {
  readonly path: PathSettings;
  readonly arrangements: readonly ArrangementName[];
  readonly losses: readonly LossSetting[];
  readonly congestion: readonly CongestionControl[];
  readonly flows: readonly number[];
  /** Of each bulk measurement, behind its slow start; and of each run of messages. */
  readonly seconds: number;
  readonly messages: Omit<MessageOrder, "seconds">;
}

export interface BulkRow extends Bulk, LossSetting {
  readonly arrangement: ArrangementName;
  readonly congestion: CongestionControl;
  readonly flows: number;
}

export interface LatencyRow extends Latency, LossSetting {
  readonly arrangement: ArrangementName;
  readonly congestion: "default";
}

export interface GatewayResult {
  readonly path: PathSettings;
  readonly bulk: readonly BulkRow[];
  readonly latency: readonly LatencyRow[];
  /** Name of a ratio that is asked for → what it was, and how much is wanted. */
  readonly floors: Readonly<Record<string, { readonly ratio: number; readonly wanted: number }>>;
  readonly lacking: readonly string[];
}

export async function run(options: GatewayOptions): Promise<GatewayResult> {
  const lacking = whatIsLacking(options.arrangements);
  if (lacking.includes("root") || lacking.includes("iperf3")) {
    return { path: options.path, bulk: [], latency: [], floors: {}, lacking };
  }
  const bulk: BulkRow[] = [];
  const latency: LatencyRow[] = [];
  for (const name of options.arrangements.filter((one) => !lacking.includes(one))) {
    const sites = await Sites.open(options.path);
    try {
      const arrangement = await arrange(name, sites);
      await measureOne(sites, arrangement, options, { bulk, latency });
      await arrangement.stop();
    } finally {
      await sites.close();
    }
  }
  return { path: options.path, bulk, latency, floors: floorsOf(bulk), lacking };
}

function whatIsLacking(arrangements: readonly ArrangementName[]): string[] {
  const lacking: string[] = [];
  if (process.getuid?.() !== 0) lacking.push("root");
  if (!isInstalled("iperf3")) lacking.push("iperf3");
  if (arrangements.includes("kcptun") && !isInstalled("kcptun-client")) lacking.push("kcptun");
  return lacking;
}

async function measureOne(
  sites: Sites,
  arrangement: Arrangement,
  options: GatewayOptions,
  rows: { readonly bulk: BulkRow[]; readonly latency: LatencyRow[] },
): Promise<void> {
  const { name } = arrangement;
  const { seconds } = options;
  for (const loss of options.losses) {
    await sites.setLoss(loss);
    for (const congestion of options.congestion) {
      for (const flows of options.flows) {
        const order = { congestion, flows, seconds };
        const bulk = await measureBulk(sites, arrangement, order);
        rows.bulk.push({ arrangement: name, congestion, flows, ...loss, ...bulk });
        tell(
          `${label(name, loss)}, ${flows} ${congestion}: ${Math.round(bulk.megabitsPerSecond)} Mbit/s`,
        );
      }
    }
    const order = { ...options.messages, seconds };
    const latency = await measureMessages(sites, arrangement, order);
    rows.latency.push({ arrangement: name, congestion: "default", ...loss, ...latency });
    tell(`${label(name, loss)}: p50 ${latency.p50.toFixed(1)}, p99 ${latency.p99.toFixed(1)} ms`);
  }
}

function label(name: ArrangementName, { loss, burst }: LossSetting): string {
  return `${name}, loss ${loss}${burst > 1 ? ` in bursts of ${burst}` : ""}`;
}

function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** One flow of CUBIC each; what is not in the rows is left out. */
function floorsOf(rows: readonly BulkRow[]): GatewayResult["floors"] {
  const find = (arrangement: ArrangementName, loss: string): BulkRow | undefined =>
    rows.find(
      (row) =>
        row.arrangement === arrangement &&
        row.loss === loss &&
        row.burst === 1 &&
        row.flows === 1 &&
        row.congestion === "cubic",
    );
  const floors: Record<string, { ratio: number; wanted: number }> = {};
  const compare = (
    name: string,
    wanted: number,
    part: number | undefined,
    whole: number | undefined,
  ): void => {
    if (part !== undefined && whole !== undefined) floors[name] = { ratio: part / whole, wanted };
  };
  const rate = (row: BulkRow | undefined): number | undefined => row?.megabitsPerSecond;
  const plain = rate(find("plain", "0%"));
  for (const mode of ["tunnel", "transparent"] as const) {
    compare(`${mode}, no loss / path`, 0.6, rate(find(mode, "0%")), plain);
    compare(`${mode}, 1 % loss / path without loss`, 0.4, rate(find(mode, "1%")), plain);
    compare(`${mode} / kcptun, 1 % loss`, 1, rate(find(mode, "1%")), rate(find("kcptun", "1%")));
    const [ours, theirs] = [find(mode, "1%"), find("kcptun", "1%")];
    const cpu = `kcptun's processor time per gigabit / ${mode}'s, 1 % loss`;
    compare(cpu, 1, theirs?.cpuSecondsPerGigabit, ours?.cpuSecondsPerGigabit);
  }
  return floors;
}
