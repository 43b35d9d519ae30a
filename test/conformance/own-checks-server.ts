/**
 *     own-checks-server.js STORE MOUNTPOINT
 *
 * Serves a store as `smfs mount` does, except that the kernel checks no permissions: what is refused
 * then is refused by the file system itself, as it must be for front-ends without a kernel before
 * them. Not an option of the product, because names cannot be cached this way.
 */
import { pino } from "pino";
import { configFrom } from "../../cli/config.ts";
import { openPrimary } from "../../cli/site/primary.ts";
import { StoreRegistry } from "../../logfs/log/registry.ts";
import { FOLLOWER, serveFuse } from "../../logfs/export/fuse/serve.ts";
import { systemTime } from "../../sys/time.ts";

const [storePath = "", mountpoint = ""] = process.argv.slice(2);
const logger = pino({ level: "warn" }, pino.destination({ dest: 2, sync: true }));
const registry = StoreRegistry.open(storePath);
const events = { onSettled: () => undefined, onFenced: () => undefined };
const site = await openPrimary(registry, configFrom({}, storePath), systemTime, logger, events);
const options = {
  mountpoint,
  fsName: storePath,
  access: "read-write",
  audience: "everybody",
  permissions: "file system",
  caching: FOLLOWER,
} as const;
const server = await serveFuse(site.vfs, options, logger);
process.stdout.write(`${storePath} on ${server.mountpoint}, checking permissions itself\n`);
await server.ended;
await site.close();
process.exit(0);
