/**
 * Lines to standard output, as fast as it takes them: memory holds one. A reader that goes away
 * (`| head`) ends it quietly, as for other tools in a pipe.
 */
import { once } from "node:events";

/** What is printed: as text, or as an object. */
export interface Line {
  readonly text: string;
  readonly fields: object;
}

export class Output {
  /** Nobody reads any more. */
  isClosed = false;
  private readonly format: "text" | "json";

  constructor(format: "text" | "json") {
    this.format = format;
    process.stdout.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      this.isClosed = true;
    });
  }

  async print({ text, fields }: Line): Promise<void> {
    if (this.isClosed) return;
    const line = this.format === "json" ? JSON.stringify(fields) : text;
    if (process.stdout.write(`${line}\n`)) return;
    // An error ends the wait, too: the listener above has noted it.
    await Promise.race([once(process.stdout, "drain"), once(process.stdout, "close")]).catch(
      () => {},
    );
  }
}
