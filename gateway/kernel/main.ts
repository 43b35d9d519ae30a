/** `npm run build` runs this before the compiler. */
import { writeGenerated } from "./assemble.ts";

await writeGenerated();
