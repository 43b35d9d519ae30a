/**
 * The emulated path between two network namespaces: both sites with their devices, and the thread
 * that carries packets between them.
 */
import { isIP } from "node:net";
import { SmfsError } from "../../lib/errors.ts";
import type { Logger } from "../../lib/ports.ts";
import type { ControlReply } from "../control/control.ts";
import type { PathSettings } from "../core/path.ts";
import { lower, raise, type Site } from "./site.ts";
import { PlaneThread } from "./worker.ts";

/** IPv4 needs 68 (RFC 791); a TUN device takes no more. */
const MTU_BOUNDS = { least: 68, most: 65_535 };

export interface TunEnd {
  readonly namespace: string;
  /** With their prefix length. */
  readonly addresses: readonly string[];
}

export interface TunPathOptions {
  readonly siteA: TunEnd;
  readonly siteB: TunEnd;
  readonly mtuBytes: number;
  readonly path: PathSettings;
  readonly logger: Logger;
}

export interface TunPath {
  /** Rejects when the data plane fails; never resolves. */
  readonly failed: Promise<never>;
  /** A line of the control protocol. */
  answer(line: string): Promise<ControlReply>;
  /** Ends the thread and takes away what was made. */
  close(): Promise<void>;
}

/** Throws `SmfsError` BUSY, NOT_PERMITTED, UNSUPPORTED, USAGE; then nothing is left behind. */
export function startTunPath(options: TunPathOptions): TunPath {
  checkOptions(options);
  const sites = raiseBoth(options);
  const [endA, endB] = sites.map(({ namespace, device }) => ({ namespace, fd: device.fd })) as [
    { namespace: string; fd: number },
    { namespace: string; fd: number },
  ];
  const { mtuBytes, path, logger } = options;
  const thread = new PlaneThread({ endA, endB, mtuBytes, path }, ({ direction, action }) =>
    logger.info({ direction, ...action }, "the path changes, as its timeline says"),
  );
  return {
    failed: thread.failed,
    answer: (line) => thread.answer(line),
    close: async () => {
      await thread.stop();
      for (const site of sites) lower(site);
    },
  };
}

function raiseBoth({ siteA, siteB, mtuBytes }: TunPathOptions): [Site, Site] {
  const first = raise({ ...siteA, other: siteB.namespace, mtuBytes });
  try {
    return [first, raise({ ...siteB, other: siteA.namespace, mtuBytes })];
  } catch (error) {
    lower(first);
    throw error;
  }
}

function checkOptions({ siteA, siteB, mtuBytes }: TunPathOptions): void {
  if (siteA.namespace === siteB.namespace) {
    throw new SmfsError("USAGE", "a path is between two namespaces, not one and the same");
  }
  const { least, most } = MTU_BOUNDS;
  if (!(Number.isSafeInteger(mtuBytes) && mtuBytes >= least && mtuBytes <= most)) {
    throw new SmfsError("USAGE", `the MTU is between ${least} and ${most} bytes`);
  }
  for (const address of [...siteA.addresses, ...siteB.addresses]) checkAddress(address);
}

function checkAddress(text: string): void {
  const [, host = "", length = ""] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const family = isIP(host);
  if (family !== 0 && Number(length) <= (family === 4 ? 32 : 128)) return;
  throw new SmfsError(
    "USAGE",
    `'${text}' is not an address with its prefix such as 198.18.0.1/30 or 2001:2::1/64`,
  );
}
