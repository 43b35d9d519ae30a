/** Extended attributes. Size 0 asks how many bytes the answer would take. */
import { concatBytes, latin1 } from "../../../../lib/bytes.ts";
import { fail } from "../../../../lib/errors.ts";
import { GetxattrIn, GetxattrOut, SetxattrIn } from "../abi.ts";
import { operation } from "../context.ts";
import { andThen } from "../maybe-promise.ts";
import type { Reply } from "../reply.ts";
import type { Request } from "../request.ts";

const SYSTEM = latin1("system.");
const NUL = new Uint8Array(1);

/** The value with the room that there is for it. */
interface Sized {
  readonly value: Uint8Array;
  readonly room: number;
}

/** `system.*` are access control lists, which nothing here would enforce: better not to keep them. */
function takeName(request: Request): Uint8Array {
  const name = request.takeText();
  if (SYSTEM.every((byte, i) => name[i] === byte)) fail("EOPNOTSUPP");
  return name;
}

function putSized(reply: Reply, { value, room }: Sized): void {
  if (room === 0) reply.put(GetxattrOut, { size: value.length });
  else reply.append([value]);
}

function sized(value: Uint8Array, room: number): Sized {
  if (room !== 0 && value.length > room) fail("ERANGE");
  return { value, room };
}

export const getxattr = operation<Sized>({
  run({ vfs }, request) {
    const { size } = request.take(GetxattrIn);
    const found = vfs.getxattr(request, request.node, takeName(request));
    return andThen(found, (value) => sized(value, size));
  },
  encode: (_context, reply, result) => putSized(reply, result),
});

export const listxattr = operation<Sized>({
  run({ vfs }, request) {
    const { size } = request.take(GetxattrIn);
    return andThen(vfs.listxattr(request, request.node), (names) =>
      sized(concatBytes(names.flatMap((name) => [name, NUL])), size),
    );
  },
  encode: (_context, reply, result) => putSized(reply, result),
});

export const setxattr = operation<void>({
  run({ vfs }, request) {
    const { size, flags } = request.take(SetxattrIn);
    const name = takeName(request);
    return vfs.setxattr(request, request.node, name, request.takeBytes(size), flags);
  },
});

export const removexattr = operation<void>({
  run: ({ vfs }, request) => vfs.removexattr(request, request.node, takeName(request)),
});
