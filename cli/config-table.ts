/**
 * Every key of the configuration file, once: its check, the form to write, its default and what it
 * is for. `config.ts` reads files by it and docs/CONFIG.md is made from it (`npm test` compares).
 */
import { z } from "zod";
import { publicKey, publicKeyForm } from "./config-keys.ts";
import { MAX_DATAGRAM_BYTES, MIN_DATAGRAM_BYTES } from "../gateway/core/transport/config.ts";
import type { CodeParameters } from "../gateway/core/code/code.ts";
import { checkParameters } from "../gateway/core/code/parameters.ts";
import { MAX_PREFIXES, parsePrefix } from "../gateway/core/ip/prefixes.ts";
import { SmfsError } from "../lib/errors.ts";
import { parseDuration, parseRate, parseShare, parseSize } from "../lib/units.ts";
import { SYNC_LEVELS } from "../logfs/core/vfs.ts";

export interface Key<S extends z.ZodType = z.ZodType> {
  readonly schema: S;
  /** What to write, as a phrase: `a duration such as "1s"`. */
  readonly form: string;
  /** The default as it would stand in the file; null when the key may be left out. */
  readonly fallback: string | null;
  readonly doc: string;
}

/** A text with a unit. Failures of other checks are told in the words of the key's `form`. */
function quantity(form: string, parse: (text: string) => number, least: string, most: string) {
  const [lowest, highest] = [parse(least), parse(most)];
  return z.string().transform((text, context) => {
    const value = valueOf(parse, text);
    if (value !== null && value >= lowest && value <= highest) return value;
    const range = `between "${least}" and "${most}"`;
    context.addIssue(value === null ? `must be ${form}` : `must lie ${range}`);
    return z.NEVER;
  });
}

function valueOf(parse: (text: string) => number, text: string): number | null {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof SmfsError) return null;
    throw error;
  }
}

const sizeForm = 'a size such as "64MiB" or "100MB"';
const size = (least: string, most: string) => quantity(sizeForm, parseSize, least, most);
const durationForm = 'a duration such as "500ms", "30s" or "10m"';
const duration = (least: string, most: string) =>
  quantity(durationForm, parseDuration, least, most);
const rateForm = 'a rate such as "100mbit" or "1gbit"';
const rate = (least: string, most: string) => quantity(rateForm, parseRate, least, most);

function choice<const T extends readonly [string, ...string[]]>(values: T) {
  const form = `one of ${values.map((value) => `"${value}"`).join(", ")}`;
  return { schema: z.enum(values), form };
}

const shareForm = 'a share such as "25%"';
const share = quantity(shareForm, parseShare, "1%", "90%");
const overhead = quantity(shareForm, parseShare, "0%", "100%");

const pathForm = 'a path such as "/srv/smfs/home"';
const path = z.string().min(1);

const addressForm = 'an address and a port such as "192.0.2.7:7000" or "[2001:db8::7]:7000"';
const address = z.string().refine(isHostAndPort, `must be ${addressForm}`);

const flagForm = "true or false";
const flag = z.boolean();

function isHostAndPort(text: string): boolean {
  const match = /^(\[[0-9a-f:.]+\]|[^\s:[\]]+):(\d{1,5})$/i.exec(text);
  return match !== null && Number(match[2]) <= 65_535;
}

const levels = choice(SYNC_LEVELS);
const unreachable = choice(["block", "eio", "degrade"]);
const logLevels = choice(["debug", "info", "warn", "error"]);

const riskForm = "a probability between 0 and 1 such as 1e-6";
const risk = z.number().gt(0).lt(1);

const datagramForm = `whole bytes from ${MIN_DATAGRAM_BYTES} to ${MAX_DATAGRAM_BYTES}`;
const datagram = z.int().min(MIN_DATAGRAM_BYTES).max(MAX_DATAGRAM_BYTES);

const codeForm =
  "data packets per group and an ascending interleave per layer such as { r = 8, interleave = [1, 10, 100] }, or c repairs for r packets out of a sliding window such as { r = 8, c = 3, window = 400, density = 2 }";
const code = z
  // Keys that do not belong are told of together with those that are missing.
  .looseObject({
    r: z.int(),
    interleave: z.array(z.int()).optional(),
    c: z.int().optional(),
    window: z.int().optional(),
    density: z.int().optional(),
  })
  .transform((written, context): CodeParameters => {
    const parameters = codeOf(written);
    const failure = parameters === null ? "one or the other" : failureOf(parameters);
    if (parameters !== null && failure === null) return parameters;
    context.addIssue(`must be ${codeForm}; ${failure}`);
    return z.NEVER;
  });

interface WrittenCode {
  readonly [key: string]: unknown;
  readonly r: number;
  readonly interleave?: readonly number[] | undefined;
  readonly c?: number | undefined;
  readonly window?: number | undefined;
  readonly density?: number | undefined;
}

/** null when it is neither of the kinds that can be written. */
function codeOf(written: WrittenCode): CodeParameters | null {
  const { r, interleave, c, window, density } = written;
  const keys = Object.keys(written).length;
  if (interleave !== undefined) return keys === 2 ? { kind: "layered", r, interleave } : null;
  if (c === undefined || window === undefined || density === undefined) return null;
  return keys === 4 ? { kind: "sliding-window", r, c, window, density } : null;
}

function failureOf(parameters: CodeParameters): string | null {
  try {
    checkParameters(parameters);
    return null;
  } catch (error) {
    if (error instanceof SmfsError) return error.message;
    throw error;
  }
}

/** A key with its default; the default goes through the same check as what people write. */
function withDefault<S extends z.ZodType>(
  schema: S,
  form: string,
  value: z.input<S>,
  doc: string,
  written: string = JSON.stringify(value),
): Key<z.ZodPrefault<S>> {
  return { schema: schema.prefault(value as never), form, fallback: written, doc };
}

function optional<S extends z.ZodType>(
  schema: S,
  form: string,
  doc: string,
): Key<z.ZodOptional<S>> {
  return { schema: schema.optional(), form, fallback: null, doc };
}

export const STORE = {
  path: optional(path, pathForm, "directory of the store; needed here or on the command line"),
  segment_size: withDefault(
    size("1MiB", "1GiB"),
    sizeForm,
    "100MB",
    "size of a segment file; fixed when the store is made",
  ),
  capacity: optional(
    size("16MiB", "1000TiB"),
    sizeForm,
    "most that the store may take; without it, what the device has",
  ),
  commit_interval: withDefault(
    duration("1ms", "1h"),
    durationForm,
    "1s",
    "what was only written is made durable at least this often",
  ),
  node_cache: withDefault(
    size("1MiB", "1TiB"),
    sizeForm,
    "64MiB",
    "memory for clean nodes of the tree",
  ),
  dirty_limit: withDefault(
    size("1MiB", "1TiB"),
    sizeForm,
    "64MiB",
    "memory for changed nodes of the tree; a checkpoint writes them at this size, or at 1/64 of a smaller store, but not below 16MiB",
  ),
  garbage: withDefault(
    share,
    shareForm,
    "25%",
    "garbage is cleaned away in the background when it is more than this share of what is used; under pressure always",
  ),
};

export const MOUNT = {
  point: optional(path, pathForm, "where to mount; without it the store is served unmounted"),
  allow_other: withDefault(flag, flagForm, false, "let other users use the mount"),
  floor: withDefault(levels.schema, levels.form, "written", "what every operation waits for"),
  fsync: withDefault(levels.schema, levels.form, "network", "what fsync waits for"),
  data_sync: withDefault(
    levels.schema,
    levels.form,
    "network",
    "what fdatasync and O_DSYNC wait for",
  ),
  osync: withDefault(levels.schema, levels.form, "network", "what O_SYNC waits for"),
  on_unreachable: withDefault(
    unreachable.schema,
    unreachable.form,
    "block",
    "when a level cannot be reached: wait up to timeout and fail, fail at once, or settle for local",
  ),
  timeout: withDefault(duration("1ms", "24h"), durationForm, "30s", "how long block waits"),
};

export const MIRROR = {
  listen: optional(address, addressForm, "wait here for the other site (this or peer)"),
  peer: optional(address, addressForm, "connect to the other site (this or listen)"),
  key_file: optional(
    path,
    pathForm,
    "file with the key that both sites share (this, or private_key_file and public_key)",
  ),
  private_key_file: optional(path, pathForm, "file with this site's own key (smfs genkey)"),
  public_key: optional(publicKey, publicKeyForm, "the other site's (smfs pubkey, run there)"),
  rate: withDefault(
    rate("10kbit", "400gbit"),
    rateForm,
    "1gbit",
    "most that is sent, repair packets included",
  ),
  target_risk: withDefault(
    risk,
    riskForm,
    1e-6,
    "probability that network may take: that what it acknowledged cannot be rebuilt",
    "1e-6",
  ),
  code: withDefault(
    code,
    codeForm,
    { r: 8, interleave: [1, 10, 100] },
    "the erasure code: layers, of which interleave = [] has none and sends no repairs, or a sliding window, which rebuilds sooner and costs more processor time",
    "{ r = 8, interleave = [1, 10, 100] }",
  ),
  adapt: withDefault(
    flag,
    flagForm,
    false,
    "the code follows the loss of the link, starting from code; interleave = [] stays as it is",
  ),
  min_overhead: withDefault(
    overhead,
    shareForm,
    "0%",
    "repairs for each data packet that adapt keeps at least",
  ),
  max_overhead: withDefault(
    overhead,
    shareForm,
    "50%",
    "repairs for each data packet that adapt does not exceed, unless code does",
  ),
  datagram: withDefault(
    datagram,
    datagramForm,
    1400,
    "longest datagram that is tried, bytes of UDP payload; what the path takes is found (RFC 8899)",
  ),
};

export const STATUS = {
  listen: optional(address, addressForm, "serve the status page and /metrics here; port 0 for any"),
  allow_remote: withDefault(
    flag,
    flagForm,
    false,
    "let listen be more than loopback; there is no password",
  ),
};

export const LOG = {
  level: withDefault(logLevels.schema, logLevels.form, "info", "least level that is logged"),
  file: optional(path, pathForm, "where to; without it, standard error"),
};

const modes = choice(["tunnel", "transparent"]);

const interfaceForm = 'the name of a network interface, at most 15 characters, such as "smfs0"';
const interfaceName = z.string().regex(/^[\w.:-]{1,15}$/);

const prefixForm = 'a list of addresses with their bits such as ["10.2.0.0/16", "fd00:2::/48"]';
const prefixes = z.array(z.string().refine(isPrefix, `must be ${prefixForm}`)).max(MAX_PREFIXES);

function isPrefix(text: string): boolean {
  return valueOf((each) => parsePrefix(each).bits, text) !== null;
}

const windowForm = "a power of two from 1024 to 65536";
const windowPackets = z
  .int()
  .refine(
    (n) => n >= 1024 && n <= 65_536 && Number.isInteger(Math.log2(n)),
    `must be ${windowForm}`,
  );

export const GATEWAY = {
  mode: withDefault(
    modes.schema,
    modes.form,
    "tunnel",
    "tunnel: packets go through a TUN device, sealed; transparent: they go as they are, and only repairs are added",
  ),
  interface: withDefault(
    interfaceName,
    interfaceForm,
    "smfs0",
    "of the TUN device that is made; in transparent mode, the interface towards the WAN",
  ),
  addresses: withDefault(prefixes, prefixForm, [], "of the TUN device"),
  routes: withDefault(
    flag,
    flagForm,
    true,
    "route the peers' prefixes into the TUN device; in transparent mode, lower the MTU of their routes to what can be protected",
  ),
  clamp_mss: withDefault(
    flag,
    flagForm,
    true,
    "lower the MSS in passing SYNs to what the tunnel carries",
  ),
  offload: withDefault(
    flag,
    flagForm,
    true,
    "exchange TCP packets of up to 64 KB with the kernel (TUN device)",
  ),
  window: withDefault(
    windowPackets,
    windowForm,
    4096,
    "packets kept from each peer to rebuild others with (transparent mode)",
  ),
  control: withDefault(path, pathForm, "/run/smfs/gateway.sock", "Unix socket for commands"),
  flows: withDefault(
    path,
    pathForm,
    "/run/smfs/flows.sock",
    "Unix socket for subscribers to flows",
  ),
};

export const PEER = {
  listen: optional(
    address,
    addressForm,
    "wait here for the peer (this or peer); several peers may be waited for at one address, each with a key of its own",
  ),
  peer: optional(address, addressForm, "call the peer (this or listen)"),
  key_file: MIRROR.key_file,
  private_key_file: MIRROR.private_key_file,
  public_key: MIRROR.public_key,
  prefixes: withDefault(
    prefixes,
    prefixForm,
    [],
    "of the peer's site: what goes there, and may come",
  ),
  rate: MIRROR.rate,
  target_risk: MIRROR.target_risk,
  code: MIRROR.code,
  adapt: MIRROR.adapt,
  min_overhead: MIRROR.min_overhead,
  max_overhead: MIRROR.max_overhead,
  datagram: MIRROR.datagram,
  hold: withDefault(
    duration("0ms", "1s"),
    durationForm,
    "50ms",
    "how long a TCP packet may wait for one before it that was lost and may be rebuilt; 0ms: not at all",
  ),
};

export const SECTIONS = {
  store: STORE,
  mount: MOUNT,
  mirror: MIRROR,
  status: STATUS,
  log: LOG,
  gateway: GATEWAY,
  "peer.NAME": PEER,
};

/** Keys of a section; each peer has a section of its own. */
export function tableOf(section: string): Readonly<Record<string, Key>> | undefined {
  const name = section.startsWith(PEER_SECTION) ? "peer.NAME" : section;
  return (SECTIONS as Readonly<Record<string, Readonly<Record<string, Key>>>>)[name];
}

export const PEER_SECTION = "peer.";

export const SECTION_DOCS: Readonly<Record<keyof typeof SECTIONS, string>> = {
  store: "The log and its segments on this machine.",
  mount: "The file system as applications see it, and what their operations wait for.",
  mirror: "The other site. Without this section nothing is mirrored.",
  status: "The status page.",
  log: "What the process says of itself.",
  gateway: "The appliance between two sites (`smfs gateway`).",
  "peer.NAME":
    "Another site of the appliance, under a name of your choice. One section for each; `[status]` and `[log]` are the process's.",
};
