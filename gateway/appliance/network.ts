/**
 * What the gateway sets up in the kernel, through ip(8): the TUN device's addresses, MTU and routes;
 * in transparent mode the MTU of the routes to the peers' sites, and the WAN interface's offloads.
 *
 * The tunnel's device goes away with the process and takes its routes with it. What the transparent
 * mode changed is put back when it ends; when it is killed it stays, and does no harm: packets are
 * smaller than they need be.
 */
import { messageOf, SmfsError } from "../../lib/errors.ts";
import { ip } from "../../sys/iproute.ts";
import { type Offload, readOffloads, setOffloads } from "../../sys/offloads.ts";

/** RFC 8200 §5: IPv6 needs at least this, and Linux gives no IPv6 to an interface with less. */
export const LEAST_IPV6_MTU = 1280;
/** Packets that the device holds while the data plane is busy or its queue is full. */
const QUEUE_PACKETS = 1000;

export interface TunNetwork {
  readonly name: string;
  /** With their bits: "10.99.0.1/30". */
  readonly addresses: readonly string[];
  readonly mtu: number;
  /** Prefixes to be routed into the device. */
  readonly routes: readonly string[];
}

export function setUpTun({ name, addresses, mtu, routes }: TunNetwork): void {
  const link = ["link", "set", "dev", name];
  ip(null, [...link, "mtu", String(mtu), "txqueuelen", String(QUEUE_PACKETS)]);
  for (const address of addresses) {
    // An IPv6 address would otherwise be of no use for a second (RFC 4862 §5.4).
    const isSix = address.includes(":");
    ip(null, ["address", "add", address, "dev", name, ...(isSix ? ["nodad"] : [])]);
  }
  ip(null, [...link, "up"]);
  for (const prefix of routes) addTunRoute(name, prefix);
}

export function setMtu(name: string, mtu: number): void {
  ip(null, ["link", "set", "dev", name, "mtu", String(mtu)]);
}

export function addTunRoute(name: string, prefix: string): void {
  try {
    ip(null, [...familyOf(prefix), "route", "add", prefix, "dev", name]);
  } catch (error) {
    if (!/File exists/.test(messageOf(error))) throw error;
    const message = `there is a route to ${prefix} already: remove it, or write routes = false in [gateway]`;
    throw new SmfsError("CONFIG", message, error);
  }
}

export function removeTunRoute(name: string, prefix: string): void {
  ip(null, [...familyOf(prefix), "route", "del", prefix, "dev", name]);
}

function familyOf(prefix: string): string[] {
  return prefix.includes(":") ? ["-6"] : ["-4"];
}

/** A route as `ip -json` tells it, as much as is needed to say it again. */
interface Route {
  readonly dst: string;
  readonly gateway?: string;
  readonly via?: { readonly host: string };
  readonly dev: string;
  readonly metric?: number;
  readonly prefsrc?: string;
}

/** The MTU on the way to a prefix, as it is changed and put back. */
export class RouteMtu {
  private readonly prefix: string;
  private readonly route: Route;
  /** There was a route for exactly this prefix; otherwise ours is taken out again. */
  private readonly isOurs: boolean;
  private mtu = 0;

  /** Throws `SmfsError` CONFIG when there is no way to the prefix. */
  constructor(prefix: string) {
    this.prefix = prefix;
    const exact = listed([...familyOf(prefix), "route", "show", "exact", prefix]);
    this.isOurs = exact === undefined;
    const address = prefix.replace(/\/.*/, "");
    const route = exact ?? listed([...familyOf(prefix), "route", "get", address]);
    if (route === undefined) throw new SmfsError("CONFIG", `there is no route to ${prefix}`);
    this.route = route;
  }

  set(mtu: number): void {
    if (mtu === this.mtu) return;
    this.mtu = mtu;
    ip(null, [...this.command("replace"), "mtu", String(mtu)]);
  }

  restore(): void {
    if (this.mtu === 0) return;
    ip(null, this.command(this.isOurs ? "del" : "replace"));
  }

  private command(verb: string): string[] {
    const { gateway, via, dev, metric, prefsrc } = this.route;
    const host = gateway ?? via?.host;
    return [
      ...familyOf(this.prefix),
      ...["route", verb, this.prefix],
      ...(host === undefined ? [] : ["via", host]),
      ...["dev", dev],
      ...(metric === undefined || this.isOurs ? [] : ["metric", String(metric)]),
      ...(prefsrc === undefined || this.isOurs ? [] : ["src", prefsrc]),
    ];
  }
}

function listed(args: readonly string[]): Route | undefined {
  const text = ip(null, ["-json", ...args]).trim();
  return text === "" ? undefined : (JSON.parse(text) as Route[])[0];
}

/**
 * Packets must pass the interface as they are on the wire: not joined on arrival, not cut or summed
 * by the card after we have seen them.
 */
const OFFLOADS: readonly Offload[] = ["tso", "gso", "gro", "lro", "txChecksum"];

export class QuietInterface {
  private readonly name: string;
  private readonly before: ReadonlyMap<Offload, boolean>;

  constructor(name: string) {
    this.name = name;
    this.before = readOffloads(name, OFFLOADS);
    setOffloads(name, new Map([...this.before.keys()].map((offload) => [offload, false])));
  }

  restore(): void {
    setOffloads(this.name, this.before);
  }
}
