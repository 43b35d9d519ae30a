/**
 * TCP traffic as a process of its own, inside the namespace in which it is started:
 *
 *   gateway-traffic.js sink HOST PORT            takes connections; tells bytes and digest of each
 *   gateway-traffic.js source HOST PORT BYTES    sends so many pseudo-random bytes, and ends
 *   gateway-traffic.js pour HOST PORT BYTES      so many a millisecond, until it is killed
 *
 * Lines of JSON on standard output: {"listening":true}, {"local":…}, {"received":n},
 * {"bytes":n,"digest":…}.
 */
import { createHash } from "node:crypto";
import { createConnection, createServer, type Socket } from "node:net";
import { Prng } from "../../lib/prng.ts";

const [role = "", host = "", port = "0", bytes = "0"] = process.argv.slice(2);
const CHUNK_BYTES = 64 * 1024;
const TELL_MILLIS = 20;

function tell(fields: object): void {
  process.stdout.write(`${JSON.stringify(fields)}\n`);
}

function sink(): void {
  const server = createServer((socket) => {
    const digest = createHash("sha256");
    let received = 0;
    const timer = setInterval(() => tell({ received }), TELL_MILLIS);
    socket.on("data", (chunk: Buffer) => {
      received += chunk.length;
      digest.update(chunk);
    });
    socket.on("error", (error) => tell({ error: error.message }));
    socket.on("end", () => socket.end());
    socket.on("close", () => {
      clearInterval(timer);
      tell({ bytes: received, digest: digest.digest("hex") });
    });
  });
  server.listen(Number(port), host, () => tell({ listening: true }));
}

function connect(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(Number(port), host);
    socket.once("error", reject);
    socket.once("connect", () => {
      tell({ local: `${socket.localAddress}:${socket.localPort}` });
      socket.on("error", (error) => tell({ error: error.message }));
      resolve(socket);
    });
  });
}

async function source(): Promise<void> {
  const socket = await connect();
  const prng = new Prng(1);
  const digest = createHash("sha256");
  for (let left = Number(bytes); left > 0; left -= CHUNK_BYTES) {
    const chunk = Buffer.from(prng.fill(new Uint8Array(Math.min(left, CHUNK_BYTES))));
    digest.update(chunk);
    if (!socket.write(chunk)) await new Promise((resolve) => socket.once("drain", resolve));
  }
  socket.end();
  socket.resume();
  await new Promise((resolve) => socket.once("close", resolve));
  tell({ bytes: Number(bytes), digest: digest.digest("hex") });
}

async function pour(): Promise<void> {
  const socket = await connect();
  const chunk = Buffer.alloc(Number(bytes));
  setInterval(() => {
    if (socket.writableLength < 2 ** 20) socket.write(chunk);
  }, 1);
}

if (role === "sink") sink();
else if (role === "source") await source();
else await pour();
