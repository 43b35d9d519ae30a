/** Commands that ask a running gateway over its control socket. */
import type { GatewayStatus, PeerStatus } from "../../gateway/appliance/gateway.ts";
import { SmfsError } from "../../lib/errors.ts";
import { formatBytes } from "../../lib/units.ts";
import { askControl } from "../control.ts";

type Verb = Parameters<typeof askControl>[1];

async function ask<T>(control: string, verb: Verb): Promise<T> {
  try {
    return await askControl<T>(control, verb);
  } catch (error) {
    if (!(error instanceof SmfsError) || error.code !== "UNREACHABLE") throw error;
    throw new SmfsError("UNREACHABLE", `no gateway is running here (${control})`, error);
  }
}

export async function stopGateway(control: string): Promise<void> {
  await ask(control, "POST /stop");
}

export async function reloadGateway(control: string): Promise<void> {
  await ask(control, "POST /reload");
}

export async function showGateway(control: string, format: "json" | "text"): Promise<void> {
  const status = await ask<GatewayStatus>(control, "GET /status");
  process.stdout.write(format === "json" ? `${JSON.stringify(status)}\n` : describe(status));
}

function describe(status: GatewayStatus): string {
  const { counters, injected } = status;
  const lines = [
    `${status.interface}: ${status.mode} mode${status.mtu === null ? "" : `, MTU ${status.mtu}`}`,
    `  packets  ${counters.packetsRead} read, ${counters.packetsWritten} written, ${counters.packetsWithoutPeer} for no peer, ${counters.tooLongPackets} too long`,
    `  flows    ${counters.flows} followed, ${status.subscribers} subscribers`,
    ...(status.mode === "tunnel" ? [] : [`  put back ${injected.injected} rebuilt packets`]),
    ...status.peers.flatMap(describePeer),
  ];
  return `${lines.join("\n")}\n`;
}

function describePeer({ name, state, reason, address, prefixes, counters }: PeerStatus): string[] {
  const { lostPackets, rebuiltPackets, packetsRebuiltHere, roundTripMicros, lossEstimate } =
    counters;
  const where = address === null ? "" : ` at ${address}`;
  const millis = (roundTripMicros / 1000).toFixed(1);
  return [
    `peer ${name}: ${state}${where}${reason === null ? "" : `: ${reason}`}`,
    `  prefixes ${prefixes.join(", ")}`,
    `  sent     ${counters.packetsSent} packets, ${formatBytes(counters.bytesSent)} in datagrams, ${counters.repairPacketsSent} repairs, ${counters.packetsRefused} refused`,
    `  loss     ${lostPackets} lost, ${rebuiltPackets} rebuilt there; at most ${(100 * lossEstimate).toFixed(2)} % before repair, round trip ${millis} ms`,
    `  received ${counters.packetsReceived} packets, ${packetsRebuiltHere} of them rebuilt, ${counters.gapsAbandoned} gaps given up`,
  ];
}
