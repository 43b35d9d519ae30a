/**
 * GlusterFS with one brick, mounted: its own glusterd with its own working directory, in a network
 * namespace of its own (it refuses loopback addresses, and nobody outside shall see it). Needs root
 * and Debian's packages glusterfs-server and iproute2.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";
import { unmount } from "../sys/mount.ts";
import { makeDirectory, type Target } from "./servers.ts";

const run = promisify(execFile);
/** RFC 5737, TEST-NET-1: on the namespace's loopback device only. */
const ADDRESS = "192.0.2.1";
const VOLUME = "bench";
const COMMAND_MILLIS = 60_000;

const VOLFILE = (place: string): string => `volume management
    type mgmt/glusterd
    option working-directory ${place}/work
    option run-directory ${place}/run
    option glusterd-sockfile ${place}/run/glusterd.socket
    option transport-type socket
    option transport.socket.bind-address ${ADDRESS}
    option transport.socket.listen-port 24007
    option transport.address-family inet
end-volume
`;

export async function startGluster(parent: string): Promise<Target> {
  const place = makeDirectory(parent, "gluster");
  for (const name of ["work", "run", "log", "brick", "mount"]) makeDirectory(place, name);
  fs.writeFileSync(join(place, "glusterd.vol"), VOLFILE(place));
  const daemon = startDaemon(place);
  const ended = once(daemon, "exit");
  const inside = (command: string, ...args: string[]) =>
    run("nsenter", ["-t", String(daemon.pid), "-n", command, ...args], { timeout: COMMAND_MILLIS });
  const gluster = (...args: string[]) =>
    inside("gluster", "--mode=script", `--glusterd-sock=${place}/run/glusterd.socket`, ...args);
  const directory = join(place, "mount");
  const stop = async (): Promise<void> => {
    await unmount(directory, "now");
    await gluster("volume", "stop", VOLUME);
    daemon.kill("SIGTERM");
    await ended;
  };
  await answers(() => gluster("volume", "list"));
  await gluster("volume", "create", VOLUME, `${ADDRESS}:${place}/brick`, "force");
  await gluster("volume", "start", VOLUME);
  const clientPid = join(place, "run", "client.pid");
  const client = [`--volfile-server=${ADDRESS}`, `--volfile-id=${VOLUME}`, "-p", clientPid];
  await inside("glusterfs", ...client, "-l", `${place}/log/client.log`, directory);
  await answers(async () => fs.readdirSync(directory));
  const bricks = join(place, "run", "vols", VOLUME);
  const brickPids = fs.readdirSync(bricks).map((file) => join(bricks, file));
  return { name: "glusterfs", directory, pids: [clientPid, ...brickPids].map(readPid), stop };
}

function startDaemon(place: string) {
  const setup = `ip link set lo up && ip addr add ${ADDRESS}/32 dev lo`;
  const daemon = `exec glusterd -N -f ${place}/glusterd.vol -p ${place}/run/glusterd.pid -l ${place}/log/glusterd.log`;
  return spawn("unshare", ["--net", "sh", "-c", `${setup} && ${daemon}`], { stdio: "ignore" });
}

function readPid(path: string): number {
  return Number(fs.readFileSync(path, "utf8"));
}

/** Tries until it works, for some seconds. */
async function answers(call: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await call();
      return;
    } catch (error) {
      if (attempt === 50) throw error;
      await setTimeout(200);
    }
  }
}
