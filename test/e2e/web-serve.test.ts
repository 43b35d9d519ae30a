import { request } from "node:http";
import { afterEach, describe, expect, test } from "vitest";
import { createStatusServer, type StatusServer } from "../../web/serve.ts";
import type { StatusDocument } from "../../web/status-types.ts";

let server: StatusServer | null = null;

afterEach(async () => {
  await server?.close();
  server = null;
});

async function start(
  status: () => StatusDocument = () => ({ sites: [], wan: null }),
): Promise<StatusServer> {
  server = await createStatusServer({
    host: "127.0.0.1",
    port: 0,
    status,
    metrics: async () => "smfs_build_info 1\n",
  });
  return server;
}

interface Answer {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly policy: string | undefined;
  readonly body: string;
}

function ask(url: string, path: string, method = "GET", host?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = host === undefined ? {} : { host };
    // `path` goes out as it stands: a client that normalises would hide a traversal.
    const { hostname, port } = new URL(url);
    const outgoing = request({ hostname, port, path, method, headers }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (body += chunk));
      response.on("end", () =>
        resolve({
          status: response.statusCode,
          type: response.headers["content-type"],
          policy: response.headers["content-security-policy"]?.toString(),
          body,
        }),
      );
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

describe("status server", () => {
  test.each([
    ["/", "text/html", "<!doctype html>"],
    ["/status.js", "text/javascript", "/status.json"],
    ["/charts.js", "text/javascript", "uPlot"],
    ["/format.js", "text/javascript", "export"],
    ["/style.css", "text/css", ":root"],
    ["/uplot/uPlot.esm.js", "text/javascript", "export"],
    ["/uplot/uPlot.min.css", "text/css", ".uplot"],
    ["/status.json?x=1", "application/json", '{"sites":[],"wan":null}'],
    ["/metrics", "text/plain; version=0.0.4", "smfs_build_info 1"],
  ])("%s is served with a policy that lets nothing else in", async (path, type, part) => {
    const answer = await ask((await start()).url, path);
    expect(answer.status).toBe(200);
    expect(answer.type).toContain(type);
    expect(answer.body).toContain(part);
    expect(answer.policy).toContain("default-src 'none'");
  });

  test.each([
    "/package.json",
    "/../package.json",
    "/%2e%2e/package.json",
    "//etc/passwd",
    "/serve.ts",
  ])("%s is not found", async (path) => {
    expect((await ask((await start()).url, path)).status).toBe(404);
  });

  test("other methods are refused, HEAD has no body", async () => {
    const { url } = await start();
    expect((await ask(url, "/status.json", "POST")).status).toBe(405);
    expect(await ask(url, "/", "HEAD")).toMatchObject({ status: 200, body: "" });
  });

  test("a name that was pointed here is refused, addresses and localhost are not", async () => {
    const { url } = await start();
    const statusOf = async (host: string) => (await ask(url, "/status.json", "GET", host)).status;
    expect(await statusOf("attacker.example:8080")).toBe(421);
    expect(await statusOf("127.0.0.1.attacker.example")).toBe(421);
    expect(await statusOf("user@127.0.0.1")).toBe(421);
    expect(await statusOf("localhost:8080")).toBe(200);
    expect(await statusOf("[::1]:8080")).toBe(200);
  });

  test("a status that cannot be had is a 500 that says why, and the server lives on", async () => {
    let fails = true;
    const { url } = await start(() => {
      if (fails) throw new Error("the site is stopping");
      return { sites: [], wan: null };
    });
    expect(await ask(url, "/status.json")).toMatchObject({
      status: 500,
      body: "the site is stopping\n",
    });
    fails = false;
    expect((await ask(url, "/status.json")).status).toBe(200);
  });

  test("a port that is taken is an error that names it", async () => {
    const port = Number(new URL((await start()).url).port);
    const again = { status: () => ({ sites: [], wan: null }), metrics: async () => "" };
    await expect(createStatusServer({ host: "127.0.0.1", port, ...again })).rejects.toMatchObject({
      code: "IO",
      message: expect.stringContaining(`127.0.0.1:${port}`) as unknown,
    });
  });
});
