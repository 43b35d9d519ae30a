import { defineConfig } from "vitest/config";

// Real mounts, processes and sockets share two cores: one test file at a time keeps them honest.
export default defineConfig({
  test: { include: ["test/**/*.test.ts"], testTimeout: 60_000, fileParallelism: false },
});
