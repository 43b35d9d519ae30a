/** The server that stores nothing, as a process: mounted until SIGTERM. */
import { serveFuse, SOLE_WRITER } from "../logfs/export/fuse/serve.ts";
import { NullFs } from "./nullfs.ts";

export async function serveNull(mountpoint: string): Promise<void> {
  const note = (_fields: object, message: string) => void process.stderr.write(`${message}\n`);
  const server = await serveFuse(
    new NullFs(),
    {
      mountpoint,
      fsName: "null",
      access: "read-write",
      audience: "owner",
      caching: SOLE_WRITER,
    },
    { debug: () => {}, info: () => {}, warn: note, error: note },
  );
  process.stdout.write(`${server.mountpoint}\n`);
  process.once("SIGTERM", () => void server.unmount());
  await server.ended;
  process.exit(0);
}
