/** Plain copies of a packet, as repairs without other members. */
import type { LossEstimate } from "./code.ts";
import { FIRST_COPY_STRIDES } from "./risk-model.ts";

/**
 * Probability that a packet and all its copies are lost. Where one burst does not reach, another may
 * take one copy and go on to the next. A `stride` of 1 stands for copies that follow directly.
 */
export function copiesLost({ loss, burst }: LossEstimate, copies: number, stride: number): number {
  const goesOn = 1 - 1 / Math.max(1, burst);
  const first = stride === 1 ? 1 : FIRST_COPY_STRIDES * stride;
  let risk = loss;
  for (let copy = 0; copy < copies; copy++) {
    risk *= Math.min(1, loss + goesOn ** (copy === 0 ? first : stride));
  }
  return risk;
}
