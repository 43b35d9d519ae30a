/** "host:port" as configuration files and people write it, IPv6 in brackets. */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { messageOf, SmfsError } from "../../lib/errors.ts";

export interface Address {
  /** An IP address, not a name. */
  readonly host: string;
  readonly port: number;
  readonly family: 4 | 6;
}

/** Resolves a name once. Throws `SmfsError` CONFIG or UNREACHABLE. */
export async function resolveAddress(text: string): Promise<Address> {
  const match = /^(?:\[([^\]]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const name = match?.[1] ?? match?.[2];
  if (name === undefined || port > 65535) {
    throw new SmfsError(
      "CONFIG",
      `'${text}' is not host:port, such as 192.0.2.7:7100 or [::1]:7100`,
    );
  }
  const literal = isIP(name);
  if (literal === 4 || literal === 6) return { host: name, port, family: literal };
  try {
    const { address, family } = await lookup(name);
    return { host: address, port, family: family === 6 ? 6 : 4 };
  } catch (error) {
    throw new SmfsError("UNREACHABLE", `cannot resolve '${name}': ${messageOf(error)}`, error);
  }
}

export function formatAddress({ host, port, family }: Address): string {
  return family === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}
