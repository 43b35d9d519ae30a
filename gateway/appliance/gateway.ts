/**
 * A running gateway on its control thread: sets up the network, starts the data plane, tells
 * subscribers and the log, changes settings while it runs, and takes everything down at its end.
 *
 * Order at the start: everything that can fail for a reason people can mend (keys, addresses, the
 * device, sockets) before the data plane; at the end the data plane first.
 */
import type { Logger } from "../../lib/ports.ts";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import { SystemError } from "../../sys/libc.ts";
import { PacketSocket } from "../../sys/packet-socket.ts";
import { openTun, type TunDevice } from "../../sys/tun.ts";
import type { GatewayConfig } from "./config.ts";
import { DataPlaneThread } from "./data-plane-thread.ts";
import { Injector } from "./injector.ts";
import type { FromDataPlane } from "./messages.ts";
import {
  addTunRoute,
  LEAST_IPV6_MTU,
  QuietInterface,
  removeTunRoute,
  RouteMtu,
  setMtu,
  setUpTun,
} from "./network.ts";
import { Peers } from "./peers.ts";
import type { DataPlaneSettings } from "./settings.ts";
import type { GatewayCounters, PeerCounters } from "./statistics.ts";
import { Subscribers } from "./subscribers.ts";

/** Copies of 30 ms at 1 Gbit/s. */
const CAPTURE_BYTES = 16 * 2 ** 20;

export interface PeerStatus {
  readonly name: string;
  readonly state: "up" | "down";
  /** Why it is down. */
  readonly reason: string | null;
  /** Where its datagrams come from. */
  readonly address: string | null;
  readonly prefixes: readonly string[];
  readonly packetBytes: number;
  readonly counters: PeerCounters;
}

export interface GatewayStatus {
  readonly mode: GatewayConfig["mode"];
  readonly interface: string;
  readonly mtu: number | null;
  readonly peers: readonly PeerStatus[];
  readonly counters: GatewayCounters;
  readonly injected: {
    readonly injected: number;
    readonly errors: number;
    readonly dropped: number;
  };
  readonly subscribers: number;
}

interface PeerState {
  state: "up" | "down";
  reason: string | null;
  address: string | null;
  packetBytes: number;
}

/** What a mode needs of the kernel, and gives back. */
interface Attachment {
  settings(peers: Peers, config: GatewayConfig): DataPlaneSettings;
  /** The prefixes that packets are for have changed, or what fits a packet has (0: not known). */
  update(prefixes: readonly string[], packetBytes: number): void;
  readonly mtu: number | null;
  close(): void;
}

export class Gateway {
  private config: GatewayConfig;
  private readonly logger: Logger;
  private readonly peers: Peers;
  private readonly attachment: Attachment;
  private readonly thread: DataPlaneThread;
  private readonly injector: Injector | null;
  private subscribers: Subscribers | null = null;
  private readonly states = new Map<string, PeerState>();

  /** Throws `SmfsError` with what is missing. */
  static async start(config: GatewayConfig, logger: Logger): Promise<Gateway> {
    const injector = config.mode === "transparent" ? new Injector() : null;
    const peers = new Peers();
    let attachment: Attachment | null = null;
    try {
      await peers.change(config.peers, config.mode);
      attachment = config.mode === "tunnel" ? new Tun(config) : new Capture(config);
      const gateway = new Gateway(config, logger, peers, attachment, injector);
      await gateway.listen();
      return gateway;
    } catch (error) {
      attachment?.close();
      peers.close();
      injector?.close();
      throw error;
    }
  }

  private constructor(
    config: GatewayConfig,
    logger: Logger,
    peers: Peers,
    attachment: Attachment,
    injector: Injector | null,
  ) {
    this.config = config;
    this.logger = logger;
    this.peers = peers;
    this.attachment = attachment;
    this.injector = injector;
    attachment.update(prefixesOf(config), 0);
    const settings = attachment.settings(peers, config);
    this.thread = new DataPlaneThread(settings, (message) => this.take(message));
  }

  private async listen(): Promise<void> {
    try {
      this.subscribers = await Subscribers.listen(this.config.flowSocket, (isWanted) =>
        this.thread.post({ kind: "flows", isWanted }),
      );
    } catch (error) {
      await this.thread.stop();
      throw new SmfsError("CONFIG", `flows: ${messageOf(error)}`, error);
    }
  }

  /** Settles when the data plane is no more: rejects when that was not asked for. */
  get ended(): Promise<void> {
    return this.thread.ended;
  }

  private take(message: FromDataPlane): void {
    switch (message.kind) {
      case "flows":
        this.subscribers?.publish(message.updates);
        break;
      case "inject":
        for (const packet of message.packets) this.injector?.inject(packet);
        break;
      case "up":
        this.noteUp(message.peer, message.packetBytes);
        break;
      case "resized":
        this.noteResized(message.peer, message.packetBytes);
        break;
      case "down":
        Object.assign(this.stateOf(message.peer), { state: "down", reason: message.reason });
        this.logger.warn({ peer: message.peer, code: message.code }, message.reason);
        break;
      case "address":
        this.stateOf(message.peer).address = message.address;
        this.logger.info({ peer: message.peer, address: message.address }, "the peer's address");
        break;
      case "ready":
      case "stopped":
      case "failed":
    }
  }

  private noteUp(peer: string, packetBytes: number): void {
    Object.assign(this.stateOf(peer), { state: "up", reason: null, packetBytes });
    this.logger.info({ peer, packetBytes }, "peer up");
    this.updateNetwork();
  }

  private noteResized(peer: string, packetBytes: number): void {
    this.stateOf(peer).packetBytes = packetBytes;
    this.logger.info({ peer, packetBytes }, "the path takes other lengths");
    this.updateNetwork();
  }

  /** Failures of ip(8) are told and borne: traffic goes on with what is set. */
  private updateNetwork(): void {
    const up = [...this.states.values()].filter(({ state }) => state === "up");
    try {
      const least = Math.min(...up.map(({ packetBytes }) => packetBytes));
      this.attachment.update(prefixesOf(this.config), up.length === 0 ? 0 : least);
    } catch (error) {
      this.logger.error({ error: messageOf(error) }, "the network could not be set up");
    }
  }

  private stateOf(peer: string): PeerState {
    let state = this.states.get(peer);
    if (state === undefined) {
      state = { state: "down", reason: null, address: null, packetBytes: 0 };
      this.states.set(peer, state);
    }
    return state;
  }

  /** Takes a new configuration while traffic goes on. Throws `SmfsError` and changes nothing. */
  async reload(config: GatewayConfig): Promise<void> {
    for (const key of FIXED) {
      if (JSON.stringify(config[key]) === JSON.stringify(this.config[key])) continue;
      throw new SmfsError("CONFIG", `[gateway] ${FIXED_NAMES[key]} needs a restart to change`);
    }
    const { replaced, release } = await this.peers.change(config.peers, config.mode);
    const before = new Set(this.config.peers.map(({ name }) => name));
    const settings = this.attachment.settings(this.peers, config);
    if (replaced.size > 0) {
      const kept = settings.peers.filter(({ name }) => !replaced.has(name));
      this.thread.post({ kind: "settings", settings: { ...settings, peers: kept } });
    }
    this.thread.post({ kind: "settings", settings });
    this.config = config;
    for (const { name } of config.peers) before.delete(name);
    for (const name of before) this.states.delete(name);
    this.updateNetwork();
    // The data plane has let go of the old sockets when it has read the message.
    setTimeout(release, RELEASE_MILLIS);
    this.logger.info({ peers: config.peers.length }, "configuration taken");
  }

  status(): GatewayStatus {
    const { statistics } = this.thread;
    return {
      mode: this.config.mode,
      interface: this.config.interfaceName,
      mtu: this.attachment.mtu,
      peers: this.peers.all.map(({ config, settings }) => ({
        name: config.name,
        ...this.stateOf(config.name),
        prefixes: config.prefixes,
        counters: statistics.readPeer(settings.place),
      })),
      counters: statistics.readGateway(),
      injected: { ...(this.injector?.statistics ?? { injected: 0, errors: 0, dropped: 0 }) },
      subscribers: this.subscribers?.count ?? 0,
    };
  }

  async stop(): Promise<void> {
    await this.thread.stop();
    await this.subscribers?.close();
    this.peers.close();
    this.attachment.close();
    this.injector?.close();
  }
}

const RELEASE_MILLIS = 1000;

const FIXED = [
  "mode",
  "interfaceName",
  "addresses",
  "windowPackets",
  "flowSocket",
  "controlSocket",
  "offload",
] as const;
const FIXED_NAMES: Record<(typeof FIXED)[number], string> = {
  mode: "mode",
  interfaceName: "interface",
  addresses: "addresses",
  windowPackets: "window",
  flowSocket: "flows",
  controlSocket: "control",
  offload: "offload",
};

function prefixesOf({ peers, routes }: GatewayConfig): readonly string[] {
  return routes ? peers.flatMap(({ prefixes }) => prefixes) : [];
}

/** Tunnel mode: the TUN device with its addresses and routes. */
class Tun implements Attachment {
  private readonly device: TunDevice;
  private readonly routes = new Set<string>();
  /** With a smaller MTU the kernel takes the addresses of IPv6 away, and does not bring them back. */
  private readonly leastMtu: number;
  mtu = LEAST_IPV6_MTU;

  constructor({ interfaceName, addresses, offload }: GatewayConfig) {
    this.leastMtu = addresses.some((address) => address.includes(":")) ? LEAST_IPV6_MTU : 0;
    this.device = openTun({
      name: interfaceName,
      offload: offload ? "segmentation" : "none",
      queue: "only",
    });
    try {
      setUpTun({ name: this.device.name, addresses, mtu: this.mtu, routes: [] });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  settings(peers: Peers, { clampMss }: GatewayConfig): DataPlaneSettings {
    const { fd: descriptor, name, headerBytes } = this.device;
    return {
      mode: "tunnel",
      tun: { descriptor, name, headerBytes },
      clampMss,
      peers: peers.settings,
    };
  }

  update(prefixes: readonly string[], packetBytes: number): void {
    const { name } = this.device;
    const wanted = new Set(prefixes);
    for (const prefix of this.routes) {
      if (wanted.has(prefix)) continue;
      removeTunRoute(name, prefix);
      this.routes.delete(prefix);
    }
    for (const prefix of wanted) {
      if (this.routes.has(prefix)) continue;
      addTunRoute(name, prefix);
      this.routes.add(prefix);
    }
    const mtu = Math.max(packetBytes, this.leastMtu);
    if (packetBytes === 0 || mtu === this.mtu) return;
    setMtu(name, mtu);
    this.mtu = mtu;
  }

  close(): void {
    this.device.close();
  }
}

/** Transparent mode: the packet socket on the WAN interface, and headroom on the routes. */
class Capture implements Attachment {
  private readonly socket: PacketSocket;
  private readonly quiet: QuietInterface;
  private readonly routes = new Map<string, RouteMtu>();
  mtu: number | null = null;

  constructor({ interfaceName }: GatewayConfig) {
    this.socket = new PacketSocket({
      interfaceName,
      link: "cooked",
      bufferBytes: CAPTURE_BYTES,
    });
    try {
      this.quiet = new QuietInterface(interfaceName);
    } catch (error) {
      this.socket.close();
      throw error;
    }
  }

  settings(peers: Peers, { clampMss, windowPackets }: GatewayConfig): DataPlaneSettings {
    const { fd: capture } = this.socket;
    return { mode: "transparent", capture, windowPackets, clampMss, peers: peers.settings };
  }

  update(prefixes: readonly string[], packetBytes: number): void {
    const wanted = new Set(prefixes);
    for (const [prefix, route] of this.routes) {
      if (wanted.has(prefix)) continue;
      route.restore();
      this.routes.delete(prefix);
    }
    if (packetBytes === 0) return;
    for (const prefix of wanted) {
      const route = this.routes.get(prefix) ?? new RouteMtu(prefix);
      this.routes.set(prefix, route);
      route.set(packetBytes);
    }
    this.mtu = packetBytes;
  }

  /** What went away by itself, with its interface, need not be put back. */
  close(): void {
    for (const route of this.routes.values()) ignoringGone(() => route.restore());
    ignoringGone(() => this.quiet.restore());
    this.socket.close();
  }
}

function ignoringGone(restore: () => void): void {
  try {
    restore();
  } catch (error) {
    if (!(error instanceof SmfsError || error instanceof SystemError)) throw error;
  }
}
