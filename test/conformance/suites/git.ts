/**
 * git on a repository in the mount: clone, commits, branches, repacking, and its own fsck, which
 * verifies the digest of every object.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Missing, requireProgram, shell } from "../command.ts";
import { type Suite, withStore } from "../suite.ts";

const COMMITS = 50;

export const git: Suite = {
  about: "git clone, commit, gc, fsck; --count: commits (50); --source: any repository",
  async run(checks, options) {
    requireProgram("git");
    const { source } = options;
    const from = [source, source === undefined ? undefined : join(source, "git-repository")].find(
      (path) =>
        path !== undefined && (existsSync(join(path, ".git")) || existsSync(join(path, "HEAD"))),
    );
    if (from === undefined) throw new Missing("needs --source DIR with a git repository to clone");
    await withStore(checks, options, async (store) => {
      const clone = { cwd: store.point, environment: IDENTITY };
      const inside = { cwd: store.at("clone"), environment: IDENTITY };
      await checks.check("clone", () =>
        shell(`git clone -q --no-local file://${from} clone`, clone),
      );
      await checks.check("fsck", () => shell("git fsck --strict --full", inside));
      await checks.check("the work tree is clean", () => shell(CLEAN, inside));
      await checks.check("commits", () => shell(commits(options.count ?? COMMITS), inside));
      await checks.check("branches", () => shell(BRANCHES, inside));
      await checks.check("gc", () => shell("git gc -q --aggressive --prune=now", inside));
      await store.remount();
      await checks.check("fsck after gc and a mount", () => shell("git fsck --full", inside));
      await checks.check("the work tree is clean after a mount", () => shell(CLEAN, inside));
      await checks.check("a clone of the clone", () =>
        shell("git clone -q clone again; git -C again fsck --full", clone),
      );
    });
  },
};

const IDENTITY = {
  GIT_AUTHOR_NAME: "A",
  GIT_AUTHOR_EMAIL: "a@example.org",
  GIT_COMMITTER_NAME: "A",
  GIT_COMMITTER_EMAIL: "a@example.org",
  GIT_CONFIG_GLOBAL: "/dev/null",
  // Clones of what another user owns.
  GIT_CONFIG_COUNT: "1",
  GIT_CONFIG_KEY_0: "safe.directory",
  GIT_CONFIG_VALUE_0: "*",
};

/** Nothing changed, as git finds by comparing contents. */
const CLEAN = `git update-index -q --really-refresh || true; test -z "$(git status --porcelain)"`;

const commits = (count: number): string => `
  for i in $(seq ${count}); do
    mkdir -p d$i; echo $i > d$i/file; echo $i >> log; git add -A; git commit -q -m "commit $i"
  done
  test "$(wc -l < log)" = ${count}`;

const BRANCHES = `
  git branch side HEAD~20; git checkout -q side; echo side > side; git add side; git commit -q -m side
  git checkout -q -; git merge -q -m merge side; test "$(cat side)" = side`;
