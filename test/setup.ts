/**
 * Property tests try the same histories each time, so that a change is judged by what it changes.
 * `FC_SEED=random npm test` tries others; what fails prints its seed.
 */
import * as fc from "fast-check";

const seed = process.env.FC_SEED ?? "20261122";
if (seed !== "random") fc.configureGlobal({ seed: Number(seed) });
