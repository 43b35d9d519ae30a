/**
 * One end of the emulated path: a network namespace, made here unless it is there, and in it the
 * TUN device `DEVICE` with its addresses. A namespace that is made here also gets its loopback and a
 * default route through the device: all that is not inside is over the WAN.
 *
 * Invariant: `lower` takes away what `raise` made and nothing else; what a killed process left is
 * taken away by the next `raise`, or by `sweep`.
 */
import { existsSync } from "node:fs";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import { ip } from "../../sys/iproute.ts";
import { inNamespace, isNamespaceName } from "../../sys/netns.ts";
import { openTun, type TunDevice } from "../../sys/tun.ts";
import { type Claim, takeClaim } from "./claim.ts";

export const DEVICE = "wan0";
/** Packets that wait for the data plane; 80 ms of full packets at 1 Gbit/s. */
const DEVICE_QUEUE_PACKETS = 10_000;
/** Below this there is no IPv6 (RFC 8200, section 5). */
const LEAST_IPV6_MTU = 1280;

export interface SitePlan {
  readonly namespace: string;
  readonly other: string;
  /** With their prefix length: 198.18.0.1/30. */
  readonly addresses: readonly string[];
  readonly mtuBytes: number;
}

export interface Site {
  readonly namespace: string;
  readonly device: TunDevice;
  /** The namespace came with the site, and goes with it. */
  readonly isMade: boolean;
  readonly claim: Claim;
}

/** Throws `SmfsError` BUSY, NOT_PERMITTED, UNSUPPORTED, USAGE; then nothing is left behind. */
export function raise(plan: SitePlan): Site {
  const { namespace, other } = plan;
  if (!isNamespaceName(namespace)) {
    throw new SmfsError("USAGE", `'${namespace}' is no name for a network namespace`);
  }
  const claim = claimOf(namespace);
  const isMade = !namespaceExists(namespace);
  try {
    claim.write({ pid: process.pid, other, isMade });
    if (isMade) makeNamespace(namespace);
    return { namespace, claim, isMade, device: raiseDevice(plan, isMade) };
  } catch (error) {
    if (isMade) deleteNamespace(namespace);
    claim.release();
    throw error;
  }
}

/** The device goes with its descriptor. */
export function lower(site: Site): void {
  site.device.close();
  if (site.isMade) deleteNamespace(site.namespace);
  site.claim.release();
}

/** Takes away what a killed owner left; false while the owner lives. */
export function sweep(namespace: string): boolean {
  const claim = takeClaim(namespace);
  if (claim === null) return false;
  clearAway(namespace, claim);
  claim.release();
  return true;
}

function claimOf(namespace: string): Claim {
  const claim = takeClaim(namespace);
  if (claim === null) {
    throw new SmfsError(
      "BUSY",
      `${namespace} is one end of another path (smfs netem down ends it)`,
    );
  }
  clearAway(namespace, claim);
  return claim;
}

function clearAway(namespace: string, { left }: Claim): void {
  if (left?.isMade === true) deleteNamespace(namespace);
}

function namespaceExists(namespace: string): boolean {
  return existsSync(`/run/netns/${namespace}`);
}

function makeNamespace(namespace: string): void {
  ip(null, ["netns", "add", namespace]);
  ip(namespace, ["link", "set", "lo", "up"]);
}

function deleteNamespace(namespace: string): void {
  if (namespaceExists(namespace)) ip(null, ["netns", "delete", namespace]);
}

function raiseDevice(plan: SitePlan, isMade: boolean): TunDevice {
  const { namespace } = plan;
  // Whole packets with their checksums, as on a wire: what a site taps is what the other gets.
  const device = inNamespace(namespace, () =>
    openTun({ name: DEVICE, offload: "none", queue: "only" }),
  );
  try {
    setUp(plan, isMade);
    return device;
  } catch (error) {
    device.close();
    throw error;
  }
}

function setUp({ namespace, addresses, mtuBytes }: SitePlan, isMade: boolean): void {
  const link = ["link", "set", "dev", DEVICE];
  // A device that comes up without a queue gets no queueing discipline, which on a busy machine
  // would hold packets back a second time, unseen.
  ip(namespace, [...link, "mtu", String(mtuBytes), "txqueuelen", "0"]);
  // Without link-local addresses a device sends nothing on its own: sites are counted alone.
  ip(namespace, [...link, "addrgenmode", "none"]);
  ip(namespace, [...link, "up"]);
  ip(namespace, [...link, "txqueuelen", String(DEVICE_QUEUE_PACKETS)]);
  for (const address of addresses) addAddress(namespace, address, mtuBytes);
  if (!isMade) return;
  const families = new Set(addresses.map((address) => (address.includes(":") ? "-6" : "-4")));
  for (const family of families) {
    if (family === "-4" || hasIPv6(mtuBytes)) {
      ip(namespace, [family, "route", "add", "default", "dev", DEVICE]);
    }
  }
}

function addAddress(namespace: string, address: string, mtuBytes: number): void {
  const add = ["address", "add", address, "dev", DEVICE];
  if (!address.includes(":")) ip(namespace, add);
  // Nobody else is on the link: no need to ask before using an address (nodad).
  else if (hasIPv6(mtuBytes)) ip(namespace, [...add, "nodad"]);
}

function hasIPv6(mtuBytes: number): boolean {
  return mtuBytes >= LEAST_IPV6_MTU && existsSync("/proc/net/if_inet6");
}

/** Packets that the device's queue had no room for: the path has not seen them. */
export function droppedByDevice(namespace: string, readDevices: () => string): number {
  try {
    const line = inNamespace(namespace, readDevices)
      .split("\n")
      .find((each) => each.trim().startsWith(`${DEVICE}:`));
    // net/core/net-procfs.c: eight columns received, then bytes, packets, errors, drops sent.
    return Number(line?.trim().split(/\s+/)[12] ?? 0);
  } catch (error) {
    throw new SmfsError("IO", `no counts of ${DEVICE} in ${namespace}: ${messageOf(error)}`, error);
  }
}
