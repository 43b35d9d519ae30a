/** Monotonic counts of one session; the metrics are made of them. */
import { OPCODES, type OpcodeName } from "./abi.ts";

export interface FuseStatistics {
  /** Requests by opcode. */
  readonly requests: Record<OpcodeName, number>;
  /** Requests of opcodes that are not served. */
  unknownRequests: number;
  /** Requests that are not what the protocol says. */
  malformedRequests: number;
  /** Answers with an errno. */
  errors: number;
  /** Of these, failures that are not a file system's ordinary answers. */
  failures: number;
  /** Bytes of file data sent by READ and taken by WRITE. */
  readBytes: number;
  writtenBytes: number;
  /** Requests answered EINTR because the caller was killed while it waited. */
  interrupted: number;
  /** Answers that the kernel no longer wanted. */
  unwantedReplies: number;
  /** Requests not answered yet (not monotonic). */
  inFlight: number;
}

export function newStatistics(): FuseStatistics {
  const names = Object.keys(OPCODES) as OpcodeName[];
  return {
    requests: Object.fromEntries(names.map((name) => [name, 0])) as Record<OpcodeName, number>,
    unknownRequests: 0,
    malformedRequests: 0,
    errors: 0,
    failures: 0,
    readBytes: 0,
    writtenBytes: 0,
    interrupted: 0,
    unwantedReplies: 0,
    inFlight: 0,
  };
}
