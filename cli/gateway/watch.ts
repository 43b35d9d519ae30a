/** `smfs gateway watch`: the callbacks of all TCP connections, a line each. */
import { type Flow, FlowClient } from "../../gateway/client.ts";
import { messageOf, SmfsError } from "../../lib/errors.ts";
import { Output } from "../output.ts";
import type { WatchFlags } from "./command.ts";

/** Until the gateway ends, nobody reads any more, or SIGINT. */
export async function watchFlows({ flows, json, ...filter }: WatchFlags): Promise<void> {
  const output = new Output(json === true ? "json" : "text");
  const client = await connect(flows, filter);
  client.onFlow((flow, ended) => {
    const fields = { ...flow, ended };
    void output.print({ text: describe(flow, ended), fields });
    if (output.isClosed) client.close();
  });
  process.once("SIGINT", () => client.close());
  process.once("SIGTERM", () => client.close());
  await client.closed;
}

async function connect(path: string, filter: object): Promise<FlowClient> {
  try {
    return await FlowClient.connect(path, filter);
  } catch (error) {
    const message = `no gateway answers at ${path}: ${messageOf(error)}`;
    throw new SmfsError("UNREACHABLE", message, error);
  }
}

function describe(flow: Flow, ended: string | null): string {
  const ends = `${flow.local} > ${flow.remote}`;
  if (ended !== null) return `${ends}  ${ended} at ${flow.passed}`;
  const levels = flow.covered.map((covered, level) => {
    const risk = flow.risks[level] ?? 1;
    return `${covered} (${risk === 0 ? "acknowledged" : risk.toExponential(1)})`;
  });
  return `${ends}  acknowledged ${flow.acknowledged}, covered ${levels.join(" ")}`;
}
