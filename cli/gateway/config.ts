/**
 * The configuration of `smfs gateway`: `[gateway]`, one `[peer.NAME]` for each peer, `[status]` and
 * `[log]` of the same file and by the same table as a site's (`config-table.ts`). A file may describe
 * a site as well; its sections are not looked at here.
 */
import type { TomlTable } from "smol-toml";
import { z } from "zod";
import type { GatewayConfig, PeerConfig } from "../../gateway/appliance/config.ts";
import { ConfigSource, type Problem } from "../config-flags.ts";
import { keyProblem, keySourceOf } from "../config-keys.ts";
import { describeIssue } from "../config-messages.ts";
import { boundsOf, failure, isLoopback, parseToml, readText, section } from "../config.ts";
import { GATEWAY, LOG, PEER, PEER_SECTION, STATUS } from "../config-table.ts";

export interface GatewayFile {
  readonly gateway: GatewayConfig;
  /** host:port of /metrics; null: not served. */
  readonly metrics: string | null;
  readonly log: { readonly level: string; readonly file: string | null };
}

const PEER_NAME = /^[\w-]{1,32}$/;

const gatewaySchema = section(GATEWAY);
const peerSchema = section(PEER);
const statusSchema = section(STATUS);
const logSchema = section(LOG);
type PeerSection = z.output<typeof peerSchema>;
type GatewaySection = z.output<typeof gatewaySchema>;

/** Throws `SmfsError` CONFIG, also when the file cannot be read. */
export function loadGatewayFile(path: string): GatewayFile {
  return parseGatewayFile(readText(path), path);
}

/** `name` stands in messages for where the text is from. */
export function parseGatewayFile(text: string, name: string): GatewayFile {
  const raw = parseToml(text, name);
  const source = new ConfigSource(name, text, new Map());
  const flat = flatten(raw, source);
  const peers = Object.keys(flat).filter((key) => key.startsWith(PEER_SECTION));
  const document = z.strictObject({
    gateway: gatewaySchema,
    status: statusSchema.prefault({}),
    log: logSchema.prefault({}),
    ...Object.fromEntries(peers.map((peer) => [peer, peerSchema])),
  });
  const result = document.safeParse(flat);
  if (!result.success) {
    throw failure(result.error.issues.flatMap((issue) => describeIssue(issue, flat, source)));
  }
  const { gateway, status, log } = result.data;
  const sections = peers.map((peer) => [peer, result.data[peer as never] as PeerSection] as const);
  const problems = contradictions(gateway, sections, status, source);
  if (problems.length > 0) throw failure(problems);
  return {
    gateway: plainGateway(gateway, sections),
    metrics: status.listen ?? null,
    log: { level: log.level, file: log.file ?? null },
  };
}

/** `[peer.a]` becomes a section named "peer.a"; sections of a site are left out. */
function flatten(raw: TomlTable, source: ConfigSource): TomlTable {
  const { store: _store, mount: _mount, mirror: _mirror, peer = {}, ...rest } = raw;
  if (!isTable(rest["gateway"])) {
    throw failure([
      source.problem(["gateway"], "write [gateway] on a line of its own, and its keys below"),
    ]);
  }
  if (!isTable(peer)) throw failure([source.problem(["peer"], peerAdvice)]);
  for (const [name, value] of Object.entries(peer)) {
    if (!isTable(value)) throw failure([source.problem(["peer", name], peerAdvice)]);
    if (!PEER_NAME.test(name)) {
      const message = "a peer's name has 1 to 32 letters, digits, '-' or '_'";
      throw failure([source.problem([`${PEER_SECTION}${name}`], message)]);
    }
  }
  const named = Object.entries(peer).map(([name, value]) => [`${PEER_SECTION}${name}`, value]);
  return { ...rest, ...(Object.fromEntries(named) as TomlTable) };
}

const peerAdvice =
  "write [peer.NAME] on a line of its own, with a name of your choice, and its keys below";

function isTable(value: unknown): value is TomlTable {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What each key allows and the whole does not. */
function contradictions(
  gateway: GatewaySection,
  peers: readonly (readonly [string, PeerSection])[],
  status: z.output<typeof statusSchema>,
  source: ConfigSource,
): Problem[] {
  const problems = peers.flatMap(([name, peer]) => peerProblems(name, peer, source));
  if (peers.length === 0) problems.push(source.problem(["gateway"], `no peer: ${peerAdvice}`));
  if (gateway.mode === "transparent" && gateway.addresses.length > 0) {
    const message = "the transparent mode has no device to give addresses to: leave them out";
    problems.push(source.problem(["gateway", "addresses"], message));
  }
  if (status.listen !== undefined && !status.allow_remote && !isLoopback(status.listen)) {
    const message = 'must be loopback, such as "127.0.0.1:9100", unless allow_remote = true';
    problems.push(source.problem(["status", "listen"], message));
  }
  return problems;
}

function peerProblems(name: string, peer: PeerSection, source: ConfigSource): Problem[] {
  const problems: Problem[] = [];
  const ends = [peer.listen, peer.peer].filter((end) => end !== undefined).length;
  if (ends !== 1) {
    const message = 'write peer = "host:port" at one side and listen = "host:port" at the other';
    problems.push(source.problem([name], message));
  }
  const wrong = keyProblem(peer);
  if (wrong !== null) problems.push(source.problem([name], wrong));
  if (peer.prefixes.length === 0) {
    const message = 'prefixes is missing: write those of its site, such as ["10.2.0.0/16"]';
    problems.push(source.problem([name], message));
  }
  return problems;
}

function plainGateway(
  gateway: GatewaySection,
  peers: readonly (readonly [string, PeerSection])[],
): GatewayConfig {
  return {
    mode: gateway.mode,
    interfaceName: gateway.interface,
    addresses: gateway.addresses,
    routes: gateway.routes,
    clampMss: gateway.clamp_mss,
    offload: gateway.offload,
    windowPackets: gateway.window,
    controlSocket: gateway.control,
    flowSocket: gateway.flows,
    peers: peers.map(([name, peer]) => plainPeer(name.slice(PEER_SECTION.length), peer)),
  };
}

function plainPeer(name: string, peer: PeerSection): PeerConfig {
  return {
    name,
    listen: peer.listen ?? null,
    peer: peer.peer ?? null,
    key: keySourceOf(peer),
    prefixes: peer.prefixes,
    rateBitsPerSecond: peer.rate,
    targetRisk: peer.target_risk,
    code: peer.code,
    adapt: boundsOf(peer),
    datagramBytes: peer.datagram,
    holdMicros: peer.hold,
  };
}
