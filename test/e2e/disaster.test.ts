/** The demonstrations as a newcomer runs them, with a small tree; nothing stays behind. */
import { chmodSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Child, until } from "../../cli/demo/processes.ts";
import { AS_NOBODY, MAIN, mountsBelow, Scene, whyNoMounts, whyNoNobody } from "./harness.ts";

const NO_MOUNTS = await whyNoMounts();
/** Who cannot mount anyway needs to become nobody else; set-id programs give no rights either. */
const LAUNCHER = whyNoNobody() === undefined ? [...AS_NOBODY, "--no-new-privs"] : [];
const NO_NOBODY = NO_MOUNTS === undefined ? whyNoNobody() : undefined;
/** A tree to copy: this project's own. */
const TREE = fileURLToPath(new URL("../../logfs/core", import.meta.url));
const DISASTER = ["demo", "--scenario", "disaster", "--json", "--tree", TREE, "--duration", "1s"];
const MEASURED = expect.any(Number);

let scene: Scene;
let output: string[];
beforeEach(() => {
  scene = new Scene();
  output = [];
  mkdirSync(scene.path("tmp"));
  // For the user without rights too.
  chmodSync(scene.directory, 0o755);
  chmodSync(scene.path("tmp"), 0o777);
});
afterEach(() => scene.close());

/** Everything that a demonstration makes is in the scene's own folder for temporary files. */
function start(args: readonly string[], launcher: readonly string[] = []): Child {
  const launch = ["env", `TMPDIR=${scene.path("tmp")}`, ...launcher];
  const child = scene.start("the demonstration", args, MAIN, launch);
  child.eachLine((line) => output.push(line));
  return child;
}

function expectNothingLeft(): void {
  expect(readdirSync(scene.path("tmp"))).toEqual([]);
  expect(mountsBelow(scene.directory)).toEqual([]);
  expect(processesOf(scene.path("tmp"))).toEqual([]);
}

/** Command lines, of all processes, that name something in the folder. */
function processesOf(folder: string): string[] {
  const lines = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return lines.map(commandLine).filter((line) => line.includes(folder));
}

function commandLine(pid: string): string {
  try {
    return readFileSync(join("/proc", pid, "cmdline"), "utf8").replaceAll("\0", " ");
  } catch (error) {
    // It ended meanwhile.
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return "";
  }
}

async function expectKeptPromise(demo: Child, mode: string, access: string): Promise<void> {
  await demo.closed;
  expect(demo.process.exitCode, demo.lastWords).toBe(0);
  expect(output.length).toBe(1);
  const report = JSON.parse(output[0] ?? "") as Record<string, number>;
  expect(report).toMatchObject({
    ...{ schemaVersion: 1, mode, access, promiseKept: true, mirrorConsistent: true },
    ...{ messagesLost: 0, messagesSent: MEASURED, elapsedSeconds: MEASURED },
    network: {
      ...{ sent: MEASURED, lost: MEASURED, rebuilt: MEASURED, retransmitted: MEASURED },
      repairOverhead: MEASURED,
    },
    latencyMillis: { p50: MEASURED, p99: MEASURED, max: MEASURED },
  });
  expect(report["messagesAcknowledged"]).toBeGreaterThan(3);
  expect(report["filesCopied"]).toBeGreaterThan(30);
  expect(report["filesIdentical"]).toBe(report["filesCopied"]);
  expectNothingLeft();
}

async function untilOutput(demo: Child, sentence: RegExp): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    demo.eachLine((line) => {
      output.push(line);
      if (sentence.test(line)) resolve();
    });
    void demo.closed.then(() => reject(new Error(`ended: ${demo.lastWords}`)));
  });
}

describe.skipIf(NO_MOUNTS)(`mounted${NO_MOUNTS === undefined ? "" : ` (${NO_MOUNTS})`}`, () => {
  it("loses nothing that was acknowledged in mode network", async () => {
    await expectKeptPromise(start([...DISASTER, "--loss", "1%"]), "network", "fuse");
  });

  it("loses nothing that was acknowledged in mode remote", async () => {
    const demo = start([...DISASTER, "--mode", "remote", "--loss", "1%", "--burst", "4"]);
    await expectKeptPromise(demo, "remote", "fuse");
  });

  it("a live demonstration shows its numbers, and leaves nothing behind after Ctrl-C", async () => {
    const demo = start(["demo"]);
    await untilOutput(demo, /fsync network .* not at the mirror .* lost \d+ .* rebuilt \d+/);
    expect(output.join("\n")).toMatch(/primary +\/.*read-write[^]*mirror +\/.*read-only/);
    expect(output.join("\n")).toMatch(/status +http:\/\/127\.0\.0\.1:\d+/);
    expect(mountsBelow(scene.directory).length).toBe(2);
    demo.kill("SIGINT");
    await demo.closed;
    expect(demo.process.exitCode).toBe(0);
    expectNothingLeft();
  });

  it("sites and WAN end by themselves when the demonstration is killed", async () => {
    const demo = start(["demo"]);
    await untilOutput(demo, /fsync network/);
    expect(processesOf(scene.path("tmp")).length).toBe(2);
    demo.kill("SIGKILL");
    await until("waiting for the sites to end", [], async () => {
      const left = [...processesOf(scene.path("tmp")), ...mountsBelow(scene.directory)];
      return Promise.resolve(left.length === 0 ? true : undefined);
    });
  });

  it("Ctrl-C while everything is starting leaves nothing behind", async () => {
    const demo = start(["demo"]);
    await untilOutput(demo, /starting two sites/);
    demo.kill("SIGINT");
    await demo.closed;
    expect(demo.process.exitCode).toBe(0);
    expectNothingLeft();
  });
});

describe.skipIf(NO_NOBODY)(`library${NO_NOBODY === undefined ? "" : ` (${NO_NOBODY})`}`, () => {
  it("the same disaster, for a user who cannot mount and is told why", async () => {
    const demo = start([...DISASTER, "--loss", "1%"], LAUNCHER);
    await expectKeptPromise(demo, "network", "library");
    expect(demo.lastWords).toMatch(/^cannot mount here, .* library instead: \S+/);
  });

  it("the same live demonstration", async () => {
    const demo = start(["demo"], LAUNCHER);
    await untilOutput(demo, /^[1-9]\d* B\/s {2}fsync network/);
    expect(output.join("\n")).toMatch(/primary .*not mounted[^]*mirror .*not mounted/);
    demo.kill("SIGINT");
    await demo.closed;
    expect(demo.process.exitCode).toBe(0);
    expectNothingLeft();
  });
});
