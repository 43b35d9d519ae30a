/** A stream, a handshake and a change of keys in a flood of everything that a stranger can send. */
import { expect, it } from "vitest";
import { handshakeSecrets, initiate } from "../../gateway/core/transport/handshake.ts";
import { nodeCrypto } from "../../gateway/udp/crypto.ts";
import { KEY, World } from "./transport-world.ts";

const SECOND = 1_000_000;
const STREAM_BYTES = 3 * 2 ** 20;
/** Each millisecond, for the whole time. */
const FLOOD_DATAGRAMS = 5;

/** What was heard before the stream: inits of earlier days, and a whole session. */
function overheard(world: World): Uint8Array[] {
  const secrets = handshakeSecrets(nodeCrypto, KEY);
  const inits = Array.from({ length: 20 }, (_, i) => initiate(nodeCrypto, secrets, i + 1).datagram);
  return [...inits, ...(world.recorded ?? [])];
}

function hostile(world: World, heard: readonly Uint8Array[]): Uint8Array {
  const { prng } = world;
  const bytes = (heard[prng.below(heard.length)] ?? new Uint8Array()).slice();
  switch (prng.below(4)) {
    case 0:
      return bytes;
    case 1:
      return bytes.slice(0, prng.below(bytes.length));
    case 2:
      return prng.fill(new Uint8Array(prng.below(200)));
    default:
      bytes[prng.below(bytes.length)] = prng.below(256);
      return bytes;
  }
}

it.each([1, 2, 3])("the stream arrives whole, in one session, seed %i", (seed) => {
  const path = { rateBitsPerSecond: 8e6, delayMicros: 20_000 };
  const world = new World({ seed, path, config: { rekeyMicros: SECOND } });
  world.recorded = [];
  world.run(SECOND);
  const heard = overheard(world);
  world.recorded = null;
  // Both sides begin again, in the flood.
  world.restartResponder();
  world.restartInitiator();
  world.a.write(STREAM_BYTES);
  const sentBefore = world.b.link.statistics.datagramsReceived;
  let injected = 0;
  for (let ms = 1; ms < 60_000 && world.b.receivedOffset < STREAM_BYTES; ms++) {
    world.run(world.nowMicros + 1000);
    for (let i = 0; i < FLOOD_DATAGRAMS; i++, injected++) world.inject(hostile(world, heard));
  }
  expect(world.b.receivedOffset, world.describe()).toBe(STREAM_BYTES);
  expect(world.b.wrongBytes).toBe(0);
  expect([world.a.ups, world.b.ups]).toEqual([1, 1]);
  expect(world.a.link.keyEpoch).toBeGreaterThanOrEqual(1);
  expect(injected).toBeGreaterThan(5000);
  const { datagramsReceived, rejectedDatagrams } = world.b.link.statistics;
  expect(datagramsReceived - sentBefore).toBeGreaterThan(injected);
  // The rest are replayed inits, answered at most once in 50 ms.
  expect(rejectedDatagrams).toBeGreaterThan(0.8 * injected);
});
