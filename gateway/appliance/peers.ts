/**
 * The peers of a gateway on its control thread: resolves their addresses, reads their keys, opens
 * their sockets, and gives each a place in the statistics. What fails here fails with a sentence,
 * before the data plane hears of it.
 */
import { SmfsError } from "../../lib/errors.ts";
import { encodeSockaddr } from "../../sys/sockaddr.ts";
import { UdpSocket } from "../../sys/udp-socket.ts";
import { type Address, resolveAddress } from "../udp/address.ts";
import { isSameKey, readKeys } from "../udp/keys.ts";
import type { PeerConfig } from "./config.ts";
import { type GatewayMode, MAX_PEERS, type PeerSettings } from "./settings.ts";

/** Takes in 100 ms at 1 Gbit/s (the kernel counts its own overhead) while the thread is away. */
const BUFFER_BYTES = 24 * 2 ** 20;

/** Messages that wait for the pacer: what comes when the thread was away for some 30 ms. */
const QUEUE_PACKETS = 2048;

export interface OpenPeer {
  readonly config: PeerConfig;
  readonly socket: UdpSocket;
  readonly settings: PeerSettings;
}

export class Peers {
  private readonly open = new Map<string, OpenPeer>();

  get all(): readonly OpenPeer[] {
    return [...this.open.values()];
  }

  get settings(): readonly PeerSettings[] {
    return this.all.map(({ settings }) => settings);
  }

  /**
   * Makes the peers those of `configs`; nothing changes when one of them fails. `replaced` names
   * those that need a new session: they must be taken away before they are added. `release` closes
   * the sockets that are not used any more.
   */
  async change(
    configs: readonly PeerConfig[],
    mode: GatewayMode,
  ): Promise<{ readonly replaced: ReadonlySet<string>; readonly release: () => void }> {
    if (configs.length > MAX_PEERS) {
      throw new SmfsError("CONFIG", `${configs.length} peers; ${MAX_PEERS} is the most`);
    }
    const next = new Map<string, OpenPeer>();
    const opened: OpenPeer[] = [];
    const replaced = new Set<string>();
    try {
      for (const config of configs) {
        const known = this.open.get(config.name);
        if (known !== undefined && isSameSession(known.config, config, mode)) {
          next.set(config.name, this.changed(known, config));
          continue;
        }
        if (known !== undefined) replaced.add(config.name);
        const isThere = known?.config.listen === config.listen && known.config.peer === config.peer;
        const others = [...next.values(), ...this.all];
        const place = known?.settings.place ?? this.freePlace(others);
        const there = isThere ? known.socket : socketAt(config, others);
        const peer = await openPeer(config, place, there);
        if (there === null) opened.push(peer);
        next.set(config.name, peer);
      }
    } catch (error) {
      closeUnused(opened, this.all);
      throw error;
    }
    const before = this.all;
    const now = [...next.values()];
    this.open.clear();
    for (const [name, peer] of next) this.open.set(name, peer);
    return { replaced, release: () => closeUnused(before, now) };
  }

  private changed(known: OpenPeer, config: PeerConfig): OpenPeer {
    const { prefixes, holdMicros } = config;
    const transport = transportOf(config);
    return { ...known, config, settings: { ...known.settings, prefixes, holdMicros, transport } };
  }

  private freePlace(taken: readonly OpenPeer[]): number {
    const places = new Set(taken.map(({ settings }) => settings.place));
    return Array.from({ length: MAX_PEERS }, (_, i) => i).find((i) => !places.has(i)) ?? 0;
  }

  close(): void {
    closeUnused(this.all, []);
    this.open.clear();
  }
}

/** The socket of another peer that is waited for at the same address; null: none. */
function socketAt({ listen }: PeerConfig, others: readonly OpenPeer[]): UdpSocket | null {
  if (listen === null) return null;
  return others.find(({ config }) => config.listen === listen)?.socket ?? null;
}

/** Closes the sockets of `before` that `now` does not use. */
function closeUnused(before: readonly OpenPeer[], now: readonly OpenPeer[]): void {
  const used = new Set(now.map(({ socket }) => socket));
  for (const socket of new Set(before.map((peer) => peer.socket))) {
    if (!used.has(socket)) socket.close();
  }
}

/** An association keeps what it began with; the transparent mode's code is not the association's. */
function isSameSession(before: PeerConfig, now: PeerConfig, mode: GatewayMode): boolean {
  const codeOf = ({ code, adapt }: PeerConfig): string => JSON.stringify({ code, adapt });
  const isSameCode = codeOf(before) === codeOf(now);
  return (
    before.listen === now.listen &&
    before.peer === now.peer &&
    isSameKey(before.key, now.key) &&
    before.datagramBytes === now.datagramBytes &&
    before.rateBitsPerSecond === now.rateBitsPerSecond &&
    before.targetRisk === now.targetRisk &&
    (isSameCode || mode === "transparent")
  );
}

/** `there`: a socket at these ends that is open already. */
async function openPeer(
  config: PeerConfig,
  place: number,
  there: UdpSocket | null,
): Promise<OpenPeer> {
  const key = readKeys(config.key);
  const remote = config.peer === null ? null : await resolveAddress(config.peer);
  const local = config.listen === null ? anyAddress(remote) : await resolveAddress(config.listen);
  // `probe`: the MTU that the transparent mode sets on routes is not for our own datagrams.
  const options = { local, bufferBytes: BUFFER_BYTES, fragment: "probe" } as const;
  const socket = there ?? new UdpSocket(options);
  const settings: PeerSettings = {
    name: config.name,
    socket: socket.fd,
    localPort: socket.address.port,
    remote: remote === null ? null : encodeSockaddr(remote),
    key,
    prefixes: config.prefixes,
    transport: transportOf(config),
    holdMicros: config.holdMicros,
    place,
  };
  return { config, socket, settings };
}

function anyAddress(remote: Address | null): { readonly host: string; readonly port: number } {
  return { host: remote?.family === 6 ? "::" : "0.0.0.0", port: 0 };
}

function transportOf(config: PeerConfig): PeerSettings["transport"] {
  const { rateBitsPerSecond, targetRisk, code, adapt, datagramBytes } = config;
  const association = { rateBitsPerSecond, targetRisk, code, adapt, datagramBytes };
  return { ...association, messageQueuePackets: QUEUE_PACKETS };
}
