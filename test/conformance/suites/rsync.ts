/** rsync -aHAX into the mount: the second time there is nothing to do, and back again everything is the same. */
import { requireProgram, shell } from "../command.ts";
import { makeSpecialTree } from "../special-tree.ts";
import { type Suite, withStore } from "../suite.ts";
import { expectSame, listTree } from "../tree.ts";

export const rsync: Suite = {
  about: "rsync -aHAX twice, with links, devices, sparse files and extended attributes",
  async run(checks, options) {
    requireProgram("rsync");
    requireProgram("getfattr", "attr");
    await withStore(checks, options, async (store) => {
      const original = store.beside("original");
      await makeSpecialTree(original);
      const expected = await listTree(original);
      const copy = store.at("copy");
      // By itself rsync takes times within one second for the same: a negative window counts nanoseconds.
      const itemize = (from: string, to: string, ...flags: readonly string[]): Promise<string> =>
        shell(
          `rsync -aHAX --sparse --modify-window=-1 --itemize-changes ${flags.join(" ")} ${from}/ ${to}/`,
        );
      await checks.check("the copy is the same", async () => {
        await itemize(original, copy);
        expectSame(expected, await listTree(copy));
      });
      await checks.check("the second time there is nothing to do", async () =>
        expectSame([], linesOf(await itemize(original, copy))),
      );
      await store.remount();
      await checks.check("nor after a mount, comparing contents", async () =>
        expectSame([], linesOf(await itemize(original, copy, "--checksum"))),
      );
      await checks.check("a copy of the copy is the same", async () => {
        await itemize(copy, store.beside("back"));
        expectSame(expected, await listTree(store.beside("back")));
      });
      await checks.check("what is gone at the source goes at the copy", async () => {
        await shell(
          `rm -r ${original}/logfs ${original}/links; echo new > ${original}/special/nothing`,
        );
        await itemize(original, copy, "--delete", "--inplace");
        expectSame(await listTree(original), await listTree(copy));
      });
    });
  },
};

function linesOf(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}
