/** GNU tar, out of the mount and into it again: the same kinds, permissions, owners, times and contents. */
import { mkdirSync } from "node:fs";
import { requireProgram, shell } from "../command.ts";
import { makeSpecialTree } from "../special-tree.ts";
import { type Suite, withStore } from "../suite.ts";
import { expectSame, listTree } from "../tree.ts";

export const tar: Suite = {
  about: "tar, with links, devices, sparse files and extended attributes",
  async run(checks, options) {
    requireProgram("tar");
    requireProgram("getfattr", "attr");
    await withStore(checks, options, async (store) => {
      const original = store.beside("original");
      await makeSpecialTree(original);
      const expected = await listTree(original);
      for (const name of ["first", "second"]) mkdirSync(store.at(name));
      const flags = "--xattrs --xattrs-include='*' --sparse --numeric-owner";
      await checks.check("into the mount", async () => {
        await shell(
          `tar -C ${original} ${flags} -cf - . | tar -C ${store.at("first")} ${flags} -xpf -`,
        );
        expectSame(expected, await listTree(store.at("first")));
      });
      await checks.check("an archive in the mount, out of and into it", async () => {
        await shell(`cd ${store.point}; tar ${flags} -C first -cf archive.tar .
          tar ${flags} -C second -xpf archive.tar; tar ${flags} -C second -df archive.tar`);
        expectSame(expected, await listTree(store.at("second")));
      });
      await store.remount();
      await checks.check("the same after a mount", async () =>
        expectSame(expected, await listTree(store.at("second"))),
      );
    });
  },
};
