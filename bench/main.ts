/** `node dist/bench/main.js fuse|transport|netem|gateway|fec|cleaner|scale [--json]`: each bench is loaded when it is asked for. */
import { Command } from "commander";
import { parseSize } from "../lib/units.ts";
import type { GatewayOptions } from "./gateway/run.ts";
import type { WorkOrder } from "./scale-worker.ts";

interface FuseFlags {
  readonly directory?: string;
  readonly size: string;
  readonly files: string;
  readonly rounds: string;
  readonly json?: true;
}

interface ScaleFlags {
  readonly sizes: string;
  readonly directory?: string;
  readonly charts?: string;
  readonly json?: true;
}

interface GatewayFlags {
  readonly arrangements: string;
  readonly delay: string;
  readonly rate: string;
  readonly losses: string;
  readonly congestion: string;
  readonly flows: string;
  readonly seconds: string;
  readonly message: string;
  readonly charts?: string;
  readonly json?: true;
}

const program = new Command("bench").description("measure smfs beside its ceilings, in one run");

program
  .command("fuse")
  .description(
    "1 MiB writes and reads, small writes and metadata, beside a server that stores nothing",
  )
  .option("--directory <directory>", "measure this instead of a store made for the occasion")
  .option("--size <size>", "of the sequential file", "256MiB")
  .option("--files <count>", "of the metadata part", "2000")
  .option("--rounds <count>", "of which the best counts", "3")
  .option("--json", "one JSON object")
  .action(async ({ directory, size, files, rounds, json }: FuseFlags) => {
    const { run } = await import("./fuse.ts");
    const given = directory === undefined ? {} : { directory };
    const numbers = { bytes: parseSize(size), files: Number(files), rounds: Number(rounds) };
    report(await run({ ...given, ...numbers }), json);
  });

program
  .command("fuse-null", { hidden: true })
  .description("serve a file system that stores nothing")
  .argument("<directory>")
  .action(async (directory: string) => {
    const { serveNull } = await import("./fuse-null.ts");
    await serveNull(directory);
  });

interface StoreFlags {
  readonly dir?: string;
  readonly size: string;
  readonly rounds: string;
  readonly json?: true;
}

interface PeersFlags {
  readonly peer: readonly string[];
  readonly gluster?: true;
  readonly dir?: string;
  readonly disk?: string;
  readonly rounds: string;
  readonly files: string;
  readonly fioDir?: string;
  readonly only?: string;
  readonly json?: true;
}

program
  .command("peers")
  .description("smfs beside passthrough_hp and GlusterFS, over the same backing store")
  .option(
    "--peer <name=path>",
    "passthrough_hp=PATH; may be repeated",
    (one, all: string[]) => [...all, one],
    [],
  )
  .option("--gluster", "GlusterFS with one brick (root; glusterfs-server)")
  .option("--dir <directory>", "backing store; default /dev/shm")
  .option(
    "--disk <directory>",
    "backing store of what syncs, and of GlusterFS; default: temporary files'",
  )
  .option("--rounds <count>", "of which the median counts", "4")
  .option("--files <count>", "of the metadata workloads", "10000")
  .option("--fio-dir <directory>", "take fio's job files from here")
  .option("--only <text>", "only workloads whose name contains this")
  .option("--json", "one JSON object")
  .action(async (flags: PeersFlags) => {
    const { run, table } = await import("./peers.ts");
    const { lacking, ...result } = await run(peersOptions(flags));
    for (const what of lacking) process.stderr.write(`lacks ${what}\n`);
    if (flags.json) report({ ...result, lacking }, true);
    else process.stdout.write(table(result.comparisons));
  });

function peersOptions({ peer, gluster, dir, disk, fioDir, only, rounds, files }: PeersFlags) {
  const prefix = "passthrough_hp=";
  const passthrough = peer.find((one) => one.startsWith(prefix))?.slice(prefix.length);
  return {
    gluster: gluster === true,
    rounds: Number(rounds),
    files: Number(files),
    ...(passthrough === undefined ? {} : { passthrough }),
    ...(dir === undefined ? {} : { directory: dir }),
    ...(disk === undefined ? {} : { disk }),
    ...(fioDir === undefined ? {} : { fioDirectory: fioDir }),
    ...(only === undefined ? {} : { only }),
  };
}

program
  .command("meta-worker", { hidden: true })
  .description("one client process of the metadata workloads")
  .action(async () => {
    const { serveMetadata } = await import("./metadata.ts");
    serveMetadata();
  });

program
  .command("store")
  .description("writes by the file system, beside a bare append to a segment file")
  .option("--dir <directory>", "backing store; default: temporary files'")
  .option("--size <size>", "of the file", "256MiB")
  .option("--rounds <count>", "of which the median counts", "4")
  .option("--json", "one JSON object")
  .action(async ({ dir, size, rounds, json }: StoreFlags) => {
    const { run } = await import("./store.ts");
    const given = dir === undefined ? {} : { directory: dir };
    report(await run({ ...given, bytes: parseSize(size), rounds: Number(rounds) }), json);
  });

program
  .command("transport")
  .description("goodput of the embedded transport, beside a bare blast of datagrams")
  .option("--seconds <seconds>", "of each part", "2.5")
  .option("--json", "one JSON object")
  .action(async ({ seconds, json }: { seconds: string; json?: true }) => {
    const { run } = await import("./transport.ts");
    report(await run({ seconds: Number(seconds) }), json);
  });

program
  .command("netem")
  .description("what the emulated path carries: the relay, and between namespaces (root)")
  .option("--seconds <seconds>", "of each part", "5")
  .option("--json", "one JSON object")
  .action(async ({ seconds, json }: { seconds: string; json?: true }) => {
    const { run } = await import("./netem.ts");
    report(await run({ seconds: Number(seconds) }), json);
  });

program
  .command("netem-end", { hidden: true })
  .description("one end of a TCP flow over the emulated path")
  .argument("<role>")
  .option("--seconds <seconds>", "how long to send", "5")
  .action(async (role: string, { seconds }: { seconds: string }) => {
    const { runEnd } = await import("./netem.ts");
    await runEnd(role, Number(seconds));
  });

program
  .command("fec")
  .description("erasure codes at equal overhead: residual loss, delay and processor time")
  .option("--charts <prefix>", "write charts to files that begin so")
  .option("--quick", "a few packets of each")
  .option("--json", "one JSON object")
  .action(async ({ charts, quick, json }: { charts?: string; quick?: true; json?: true }) => {
    const { draw, FULL, QUICK, run } = await import("./fec.ts");
    const result = run(quick ? QUICK : FULL);
    if (charts !== undefined) draw(charts, result);
    report(result, json);
  });

interface CleanerFlags {
  readonly size: string;
  readonly fills: string;
  readonly utilisations: string;
  readonly blocks: string;
  readonly charts?: string;
  readonly quick?: true;
  readonly json?: true;
}

program
  .command("cleaner")
  .description("write amplification of random overwrites, beside LFS's curves")
  .option("--size <size>", "of the store", "64MiB")
  .option("--fills <count>", "overwrites while measuring, in multiples of the file", "1")
  .option("--utilisations <shares>", "of the store that is the file", "0.5,0.75,0.9")
  .option("--blocks <sizes>", "of the overwrites", "4KiB,64KiB")
  .option("--charts <prefix>", "write charts to files that begin so")
  .option("--quick", "one small point of each pattern")
  .option("--json", "one JSON object")
  .action(async ({ size, fills, utilisations, blocks, charts, quick, json }: CleanerFlags) => {
    const { draw, QUICK, run } = await import("./cleaner.ts");
    const asked = {
      capacityBytes: parseSize(size),
      fills: Number(fills),
      utilisations: utilisations.split(",").map(Number),
      blockBytes: blocks.split(",").map(parseSize),
      modelSegments: 400,
    };
    const result = await run(quick ? QUICK : asked);
    if (charts !== undefined) draw(charts, result);
    report(result, json);
  });

program
  .command("gateway")
  .description("TCP between two sites: goodput and message latency with and without the gateway")
  .option("--arrangements <names>", "of plain, tunnel, transparent, kcptun", "plain,tunnel,kcptun")
  .option("--delay <delay>", "one way", "50ms")
  .option("--rate <rate>", "of the path", "1gbit")
  .option("--losses <losses>", "SHARE or SHARExBURST, separated by commas", "0%,0.1%,0.5%,1%,1%x8")
  .option("--congestion <names>", "of cubic, reno, bbr", "cubic,reno,bbr")
  .option("--flows <counts>", "TCP connections at once", "1,8")
  .option("--seconds <seconds>", "of each measurement", "10")
  .option("--message <size>", "of the latency part, 1,000 a second", "1KiB")
  .option("--charts <prefix>", "write charts to files that begin so")
  .option("--json", "one JSON object")
  .action(async (flags: GatewayFlags) => {
    const { run } = await import("./gateway/run.ts");
    const { drawGateway } = await import("./gateway/charts.ts");
    const result = await run(gatewayOptions(flags));
    for (const what of result.lacking) process.stderr.write(`lacks ${what}\n`);
    if (flags.charts !== undefined) drawGateway(flags.charts, result);
    report(result, flags.json);
  });

program
  .command("message-end", { hidden: true })
  .argument("<role>", "send or receive")
  .argument("<host>")
  .argument("<port>")
  .argument("<bytes>")
  .argument("<perSecond>")
  .argument("<seconds>")
  .action(async (role: string, host: string, ...numbers: string[]) => {
    const [port = 0, bytes = 0, perSecond = 0, seconds = 0] = numbers.slice(0, 4).map(Number);
    const { runMessageEnd } = await import("./gateway/traffic.ts");
    await runMessageEnd(role, host, port, { bytes, perSecond, seconds });
  });

program
  .command("scale")
  .description("cost of an operation, time of a mount and memory while a file system grows")
  .argument(
    "<shape>",
    "tree (many directories), directory (all names in one) or sparse (blocks of a 10 TB file)",
  )
  .option("--sizes <counts>", "files at each step, separated by commas", "10000,100000,1000000")
  .option("--directory <directory>", "where the store goes")
  .option("--charts <prefix>", "write charts to files that begin so")
  .option("--json", "one JSON object")
  .action(async (shape: string, { sizes, json, ...rest }: ScaleFlags) => {
    const { run, shapeOf } = await import("./scale.ts");
    report(run({ ...rest, shape: shapeOf(shape), sizes: sizes.split(",").map(Number) }), json);
  });

program
  .command("scale-worker", { hidden: true })
  .argument("<order>")
  .action(async (order: string) => {
    const { work } = await import("./scale-worker.ts");
    process.stdout.write(JSON.stringify(await work(JSON.parse(order) as WorkOrder)));
    // As if killed: what was not closed is left as it stands.
    process.exit(0);
  });

function gatewayOptions(flags: GatewayFlags): GatewayOptions {
  const { delay, rate } = flags;
  return {
    path: { delay, rate },
    arrangements: flags.arrangements.split(",") as GatewayOptions["arrangements"],
    losses: flags.losses.split(",").map((text) => {
      const [loss = "0%", burst = "1"] = text.split("x");
      return { loss, burst: Number(burst) };
    }),
    congestion: flags.congestion.split(",") as GatewayOptions["congestion"],
    flows: flags.flows.split(",").map(Number),
    seconds: Number(flags.seconds),
    messages: { bytes: parseSize(flags.message), perSecond: 1000 },
  };
}

function report(result: object, json: true | undefined): void {
  const rounded = (_key: string, value: unknown): unknown =>
    typeof value === "number" ? Number(value.toPrecision(4)) : value;
  process.stdout.write(`${JSON.stringify(result, rounded, json ? undefined : 2)}\n`);
}

await program.parseAsync();
