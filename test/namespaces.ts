/**
 * Network namespaces for tests: names that no other run has, gone at the end whatever happened in
 * between. `whyNoNamespaces` says what is missing where they cannot be had.
 */
import { existsSync, readdirSync } from "node:fs";
import { afterEach } from "vitest";
import { messageOf } from "../lib/errors.ts";
import { ip } from "../sys/iproute.ts";

/** Why tests with namespaces and TUN devices cannot run here; null when they can. */
export function whyNoNamespaces(): string | null {
  if (process.platform !== "linux") return "needs Linux";
  if (process.getuid?.() !== 0) return "needs root";
  if (!existsSync("/dev/net/tun")) return "needs /dev/net/tun";
  const name = uniqueName();
  try {
    ip(null, ["netns", "add", name]);
    ip(null, ["netns", "delete", name]);
    return null;
  } catch (error) {
    return `needs network namespaces: ${messageOf(error)}`;
  }
}

let made = 0;

function uniqueName(): string {
  made++;
  return `smfs-test-${process.pid}-${made}`;
}

const open: string[] = [];

/** A name whose namespace is deleted after the test, if there is one then. */
export function namespaceName(): string {
  const name = uniqueName();
  open.push(name);
  return name;
}

/** A fresh namespace with nothing but its loopback, which is up. */
export function namespace(): string {
  const name = namespaceName();
  ip(null, ["netns", "add", name]);
  ip(name, ["link", "set", "lo", "up"]);
  return name;
}

export function namespaceExists(name: string): boolean {
  return existsSync(`/run/netns/${name}`);
}

/** Of the namespace, without those that the kernel puts into each. */
export function interfacesOf(name: string): string[] {
  const links = JSON.parse(ip(name, ["-json", "link", "show"])) as { ifname: string }[];
  return links.map(({ ifname }) => ifname).filter((found) => /^(smfs|wan)/.test(found));
}

afterEach(() => {
  const there = existsSync("/run/netns") ? readdirSync("/run/netns") : [];
  for (const name of open.splice(0)) {
    if (there.includes(name)) ip(null, ["netns", "delete", name]);
  }
});
