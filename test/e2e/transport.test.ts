/** The transport over real sockets on loopback. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { SmfsError } from "../../lib/errors.ts";
import type { Logger } from "../../lib/ports.ts";
import type { LinkHandler } from "../../gateway/core/transport/link.ts";
import { openLink, type UdpLink } from "../../gateway/udp/endpoint.ts";
import { generateKey, readKeyFile, writeKeyFile } from "../../gateway/udp/keys.ts";

const KEY = new Uint8Array(32).fill(5);
const OTHER_KEY = new Uint8Array(32).fill(6);
const logger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const links: UdpLink[] = [];

afterEach(() => {
  for (const link of links.splice(0)) link.close();
});

async function open(
  where: { listen: string } | { peer: string },
  handler: Partial<LinkHandler>,
  key = KEY,
): Promise<UdpLink> {
  const nothing: LinkHandler = {
    onUp() {},
    onDown() {},
    onData() {},
    onWritable() {},
    onProgress() {},
  };
  const link = await openLink({ ...where, key, handler: { ...nothing, ...handler }, logger });
  links.push(link);
  return link;
}

describe("two links over loopback", () => {
  it("carry a stream whole, and tell what is safe and acknowledged", async () => {
    const total = 8 * 2 ** 20;
    const source = Buffer.alloc(total, "what was written is what arrives; ");
    const received: Buffer[] = [];
    let receivedBytes = 0;
    let finish = (): void => {};
    const done = new Promise<void>((resolve) => (finish = resolve));
    const check = (): void => {
      if (receivedBytes === total && caller.acknowledgedOffset === total) finish();
    };
    const listener = await open(
      { listen: "127.0.0.1:0" },
      {
        onData(bytes) {
          received.push(Buffer.from(bytes));
          receivedBytes += bytes.length;
        },
      },
    );
    const caller = await open(
      { peer: `127.0.0.1:${listener.localPort}` },
      { onUp: () => caller.write(source), onProgress: check },
    );
    await done;
    expect(Buffer.concat(received).equals(source)).toBe(true);
    expect(caller.safeOffset).toBe(total);
    expect(caller.riskBelow(total)).toBe(0);
    expect(listener.statistics.rejectedDatagrams).toBe(0);
  });

  it("a lone message is safe at once though nothing waits for more data", async () => {
    const listener = await open({ listen: "127.0.0.1:0" }, {});
    const safe = new Promise<void>((resolve) => {
      void open(
        { peer: `127.0.0.1:${listener.localPort}` },
        {
          onUp() {
            const caller = links.at(-1) as UdpLink;
            caller.write(new Uint8Array(4096));
            caller.hurry(4096);
          },
          onProgress() {
            if ((links.at(-1) as UdpLink).safeOffset === 4096) resolve();
          },
        },
      );
    });
    await safe;
  });

  it("with different keys, both are told to compare them, with the address", async () => {
    const told: string[] = [];
    let finish = (): void => {};
    const done = new Promise<void>((resolve) => (finish = resolve));
    const onDown = (code: string, reason: string): void => {
      told.push(`${code}: ${reason}`);
      if (told.length === 2) finish();
    };
    const listener = await open({ listen: "127.0.0.1:0" }, { onDown });
    const peer = `127.0.0.1:${listener.localPort}`;
    await open({ peer }, { onDown }, OTHER_KEY);
    await done;
    expect(told).toContain(
      `refused: peer at ${peer}: the peer does not accept our key: compare key_file on both sides (unauthenticated notice)`,
    );
    expect(told).toContain(
      "refused: somebody who does not have our key tried to connect: compare key_file on both sides",
    );
  });

  it("the caller comes first and is answered when the listener appears", async () => {
    const first = await open({ listen: "127.0.0.1:0" }, {});
    const port = first.localPort;
    first.close();
    const up = new Promise<void>((resolve) => {
      void open({ peer: `127.0.0.1:${port}` }, { onUp: resolve });
    });
    await open({ listen: `127.0.0.1:${port}` }, {});
    await up;
  });

  it.each(["onUp", "onProgress", "onDown"] as const)(
    "a handler may close its link in %s",
    async (at) => {
      const listener = await open(
        { listen: "127.0.0.1:0" },
        {
          onUp() {
            if (at === "onDown") listener.close();
          },
        },
      );
      const closed = new Promise<void>((resolve) => {
        const close = (): void => {
          links.at(-1)?.close();
          resolve();
        };
        const provoke = (): void => {
          if (at === "onProgress") links.at(-1)?.write(new Uint8Array(100));
        };
        const handler: Partial<LinkHandler> = { onUp: provoke, [at]: close };
        void open({ peer: `127.0.0.1:${listener.localPort}` }, handler);
      });
      await closed;
      expect(links.at(-1)?.up).toBe(false);
    },
  );

  it("an address that is none is refused with an example", async () => {
    await expect(open({ peer: "nowhere" }, {})).rejects.toThrow(/'nowhere' is not host:port/);
  });

  it("a port in use is named", async () => {
    const { localPort } = await open({ listen: "127.0.0.1:0" }, {});
    await expect(open({ listen: `127.0.0.1:${localPort}` }, {})).rejects.toThrow(
      `UDP 127.0.0.1:${localPort}`,
    );
  });
});

describe("key files", () => {
  const directory = mkdtempSync(join(tmpdir(), "smfs-keys-"));
  const path = join(directory, "key");
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it("what is written is read, and the file is its owner's", () => {
    writeKeyFile(path);
    expect(readKeyFile(path)).toHaveLength(32);
    expect(() => writeKeyFile(path)).toThrow(SmfsError);
    chmodSync(path, 0o640);
    expect(() => readKeyFile(path)).toThrow(/can be read by others: run chmod 600/);
    rmSync(path);
    expect(() => readKeyFile(path)).toThrow(/cannot read/);
    writeFileSync(path, generateKey().slice(1), { mode: 0o600 });
    expect(() => readKeyFile(path)).toThrow(/does not hold a key/);
  });
});
