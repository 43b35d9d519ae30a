import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import { runUp } from "../../cli/netem/between.ts";
import { netemCommand } from "../../cli/netem/command.ts";
import { relayCommand, type RelayCommandOptions, runRelay } from "../../cli/netem/relay.ts";
import { EmulatedPath } from "../../netem/core/path.ts";
import { parseChanges } from "../../netem/core/parse.ts";
import { PRESET_NAMES, PRESETS } from "../../netem/core/presets.ts";
import { changeSettings, IDEAL_LINK } from "../../netem/core/settings.ts";
import { parseTimeline } from "../../netem/core/timeline.ts";

describe("settings as typed", () => {
  test("become plain numbers", () => {
    expect(
      parseChanges({
        delay: "50ms",
        jitter: "1ms",
        rate: "1gbit",
        queue: "4MiB",
        loss: "1%",
        burst: "8",
        reorder: "0.1%",
        "reorder-delay": "2ms",
        duplicate: "0.001",
        "path-mtu": "1300",
      }),
    ).toEqual({
      delayMicros: 50_000,
      jitterMicros: 1_000,
      rateBitsPerSecond: 1e9,
      queueBytes: 4 * 2 ** 20,
      loss: { kind: "bursts", share: 0.01, meanPackets: 8 },
      reorderShare: 0.001,
      reorderDelayMicros: 2_000,
      duplicateShare: 0.001,
      mtuBytes: 1300,
    });
    expect(parseChanges({ rate: "none", queue: "auto", loss: "1%", "path-mtu": "none" })).toEqual({
      rateBitsPerSecond: Infinity,
      mtuBytes: Infinity,
      queueBytes: null,
      loss: { kind: "independent", share: 0.01 },
    });
  });

  test.each([
    [{ dely: "50ms" }, /'dely' is not a link setting; there are delay, /],
    [{ delay: "50" }, /delay: '50' is not a duration such as/],
    [{ burst: "8" }, /burst needs loss/],
    [{ loss: "1%", burst: "0" }, /at least 1/],
    [{ toString: "1" }, /not a link setting/],
  ])("%o is told what to write", (texts, message) => {
    expect(() => parseChanges(texts as Record<string, string>)).toThrow(message);
  });

  test("every preset is a path that can be", () => {
    for (const name of PRESET_NAMES) {
      const { settings } = PRESETS[name];
      expect(changeSettings(IDEAL_LINK, settings)).toEqual(settings);
      expect(settings.delayMicros).toBeGreaterThan(0);
    }
  });
});

describe("timeline", () => {
  const text = `# a rolling disaster
20s         cut
10s         loss=1% burst=8   # the fibre is being moved
500ms  a>b  delay=80ms
20s    b>a  restore
`;

  test("is sorted by time, and by line where times are equal", () => {
    const events = parseTimeline(text, "t");
    expect(
      events.map(({ atMicros, direction, action }) => [atMicros, direction, action.kind]),
    ).toEqual([
      [500_000, "a>b", "configure"],
      [10e6, "both", "configure"],
      [20e6, "both", "cut"],
      [20e6, "b>a", "restore"],
    ]);
  });

  test("is applied to a path when its time comes, in one direction or both", () => {
    const settings = { aToB: IDEAL_LINK, bToA: IDEAL_LINK, seed: 1 };
    const path = new EmulatedPath({ ...settings, timeline: parseTimeline(text, "t") }, 1_000);
    expect(path.nextTimeoutMicros()).toBe(501_000);
    expect(path.runTimeline(500_999)).toHaveLength(0);
    path.runTimeline(501_000);
    expect([path.aToB.settings.delayMicros, path.bToA.settings.delayMicros]).toEqual([80_000, 0]);
    expect(path.runTimeline(25e6)).toHaveLength(3);
    expect([path.aToB.isCut, path.bToA.isCut]).toEqual([true, false]);
    expect(path.nextTimeoutMicros()).toBe(Infinity);
  });

  test.each([
    ["soon cut", /^t:1: 'soon' is not a duration/],
    ["\n5s", /^t:2: after the time comes cut, restore, or changes/],
    ["5s loss = 1%", /no spaces around =/],
    ["5s cut now", /after the time comes/],
    ["5s lost=1%", /^t:1: 'lost' is not a link setting/],
  ])("%j is refused with its line", (wrong, message) => {
    expect(() => parseTimeline(wrong, "t")).toThrow(message);
  });
});

/** A run of the command: its output so far, a way to write its input, and its end. */
function startNetem(options: Partial<RelayCommandOptions>) {
  const input = new PassThrough();
  const stop = new AbortController();
  let output = "";
  let errors = "";
  const ended = runRelay(
    { listen: "127.0.0.1:0", peer: "127.0.0.1:9", seed: "1", json: true, ...options },
    {
      input,
      isTerminal: false,
      stop: stop.signal,
      writeOutput: (text) => (output += text),
      writeError: (text) => (errors += text),
    },
  );
  const lines = (): Record<string, unknown>[] =>
    output
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { input, stop, ended, lines, errors: () => errors };
}

describe("smfs netem", () => {
  test("answers each command with a line, in order, and ends with its input", async () => {
    const run = startNetem({ preset: "wan" });
    run.input.end(
      '{"set":{"loss":"1%","burst":8},"direction":"a>b"}\n{"cut":true}\n\n{"nonsense":1}\n' +
        '{"set":{"delay":"far"}}\nnot json\n{"stats":true}\n{"restore":true}',
    );
    await run.ended;
    const [hello, ...replies] = run.lines();
    expect(hello).toMatchObject({ listening: { host: "127.0.0.1" }, peer: { port: 9 } });
    expect(replies).toMatchObject([
      { ok: true },
      { ok: true },
      { ok: false, error: expect.stringContaining('a command is {"set"') as unknown },
      { ok: false, error: expect.stringContaining("'far' is not a duration") as unknown },
      { ok: false, error: expect.stringContaining("one JSON object on a line") as unknown },
      { ok: true, statistics: { sent: 0, lost: 0, aToB: { inFlight: 0 } } },
      { ok: true },
      { statistics: { sent: 0 } },
    ]);
  });

  test("ends when it is told to stop, and says what it carried", async () => {
    const run = startNetem({});
    run.stop.abort();
    await run.ended;
    expect(run.lines().at(-1)).toMatchObject({ statistics: { sent: 0, delivered: 0 } });
  });

  test("a line without end is refused before it fills the memory", async () => {
    const run = startNetem({});
    run.input.end("x".repeat(200_000));
    await expect(run.ended).rejects.toMatchObject({ code: "TOO_LARGE" });
  });

  test.each([
    [{ listen: "nowhere" }, /--listen must be an address and a port such as/],
    [{ peer: "example.org:1" }, /--peer must be an address/],
    [{ seed: "-1" }, /--seed must be a whole number/],
    [{ loss: "200%" }, /at most 100%/],
    [{ timeline: "/nowhere/t" }, /--timeline: ENOENT/],
  ])("%o is wrong usage", async (options, message) => {
    await expect(startNetem(options).ended).rejects.toMatchObject({
      code: "USAGE",
      message: expect.stringMatching(message) as unknown,
    });
  });

  test("has an option for every setting, and help with the presets", () => {
    const help = relayCommand().helpInformation();
    for (const name of [
      "--reorder-delay",
      "--path-mtu",
      "--burst",
      "--preset",
      "--timeline",
      "--seed",
      "--json",
    ]) {
      expect(help).toContain(name);
    }
    expect(netemCommand().helpInformation()).toContain("up");
  });

  test.each([
    [{ between: "one" }, /--between needs two names/],
    [{ between: "one,one" }, /not one and the same/],
    [{ between: "../one,two" }, /no name for a network namespace/],
    [{ mtu: "20" }, /MTU is between/],
    [{ addressA: "198.18.0.1" }, /address with its prefix/],
    [{ loss: "200%" }, /at most 100%/],
  ])("up: %o is wrong usage", async (options, message) => {
    const all = { between: "one,two", mtu: "1500", seed: "1" };
    const around = {
      input: new PassThrough(),
      isTerminal: false,
      stop: AbortSignal.abort(),
      writeOutput: () => {},
      writeError: () => {},
    };
    const addresses = { addressA: "192.0.2.1/24", addressB: "192.0.2.2/24" };
    await expect(runUp({ ...all, ...addresses, ...options }, around)).rejects.toMatchObject({
      code: "USAGE",
      message: expect.stringMatching(message) as unknown,
    });
  });
});
