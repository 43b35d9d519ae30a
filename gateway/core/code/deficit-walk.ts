/**
 * The walk of a sliding window's deficit along the wire, as a distribution: see
 * `sliding-window-risk.ts`. Before `lose`, a deficit of 0 is a state like others; after it, what gets
 * there is rebuilt and leaves the account.
 */
import type { LossEstimate } from "./code.ts";
import { Gilbert } from "./gilbert.ts";

/** A deficit as high is never made up for: no window has as many repairs, at common rates. */
const MAX_DEFICIT = 192;
/** A deficit as high belongs to a burst, whose end is too far back to be in every repair. */
const OLD_DEFICIT = 5;
/** Probabilities that are left out of the account; the risks asked for are far above. */
const NEGLIGIBLE = 1e-14;
/** Two random equations in GF(256) say the same. */
const WASTED = 1 / 255;

/** Channel of the last packet (bit 0: lost) and whether the deficit is old (bit 1). */
const STATES = [0, 1, 2, 3] as const;
const LOST = 1;
const OLD = 2;

export class DeficitWalk {
  private readonly chain: Gilbert;
  private readonly density: number;
  /** Probability by deficit, for each of `STATES`. */
  private now = STATES.map(() => new Float64Array(MAX_DEFICIT + 1));
  private next = STATES.map(() => new Float64Array(MAX_DEFICIT + 1));
  /** Highest deficit with a probability worth counting. */
  private highest = 0;
  private hasLost = false;
  /** The packet has become too old to be in every repair. */
  private isOld = false;
  /** By deficit: a sparse repair names nothing that is missing. */
  private readonly misses: Float64Array;

  constructor(link: LossEstimate, density: number) {
    this.chain = new Gilbert(link);
    this.density = density;
    this.misses = Float64Array.from(
      { length: MAX_DEFICIT + 1 },
      (_, deficit) => (1 - density) ** deficit,
    );
    this.state(0)[0] = 1 - link.loss;
    this.state(LOST)[0] = link.loss;
  }

  copy(): DeficitWalk {
    const { loss } = this.chain;
    const walk = new DeficitWalk({ loss, burst: 1 / (1 - this.chain.stays) }, this.density);
    walk.now = this.now.map((probabilities) => probabilities.slice());
    walk.highest = this.highest;
    walk.hasLost = this.hasLost;
    walk.isOld = this.isOld;
    return walk;
  }

  /** What has not been rebuilt of the packet that `lose` was about. */
  get risk(): number {
    let sum = 0;
    for (const state of STATES) {
      const probabilities = this.state(state);
      for (let deficit = 1; deficit <= this.highest; deficit++) sum += probabilities[deficit] ?? 0;
    }
    return sum;
  }

  /** The next packet is the one in question, and it is lost. */
  lose(): void {
    this.passData();
    for (const state of STATES) if ((state & LOST) === 0) this.state(state).fill(0);
    for (const state of STATES) this.state(state)[0] = 0;
    this.hasLost = true;
  }

  growOld(): void {
    this.isOld = true;
  }

  passRepairs(count: number): this {
    for (let n = 0; n < count; n++) this.passRepair();
    return this;
  }

  passData(): void {
    this.begin();
    for (let old = 0; old <= OLD; old += OLD) {
      const [good, bad] = this.channels(old);
      for (let deficit = 0; deficit <= this.highest; deficit++) {
        const [before, behindLost] = [good[deficit] ?? 0, bad[deficit] ?? 0];
        const lost = before * this.chain.enters + behindLost * this.chain.stays;
        this.add(old, deficit, before + behindLost - lost);
        this.add(old | LOST, deficit + 1, lost);
      }
    }
    this.end();
  }

  passRepair(): void {
    this.begin();
    for (let old = 0; old <= OLD; old += OLD) {
      const [good, bad] = this.channels(old);
      for (let deficit = 0; deficit <= this.highest; deficit++) {
        const [before, behindLost] = [good[deficit] ?? 0, bad[deficit] ?? 0];
        const lost = before * this.chain.enters + behindLost * this.chain.stays;
        const arrived = before + behindLost - lost;
        const wasted = arrived * this.wasteOf(old, deficit);
        this.add(old | LOST, deficit, lost);
        this.add(old, deficit, wasted);
        if (deficit > 0) this.add(old, deficit - 1, arrived - wasted);
      }
    }
    this.end();
  }

  /** Share of the repairs that come and do not make a deficit smaller. */
  private wasteOf(old: number, deficit: number): number {
    if (deficit === 0 || deficit === MAX_DEFICIT) return 1;
    const isSparse = this.isOld || old === OLD;
    const missed = isSparse ? (this.misses[deficit] ?? 0) : 0;
    return Math.min(1, missed + (deficit > 1 ? WASTED : 0));
  }

  private channels(old: number): readonly [Float64Array, Float64Array] {
    return [this.state(old), this.state(old | LOST)];
  }

  private begin(): void {
    for (const probabilities of this.next) probabilities.fill(0, 0, this.highest + 2);
  }

  private end(): void {
    [this.now, this.next] = [this.next, this.now];
    this.highest = Math.min(MAX_DEFICIT, this.highest + 1);
    while (this.highest > 0 && !this.isCounted(this.highest)) this.highest--;
  }

  private isCounted(deficit: number): boolean {
    return STATES.some((state) => (this.state(state)[deficit] ?? 0) >= NEGLIGIBLE);
  }

  private add(state: number, wanted: number, probability: number): void {
    const deficit = Math.min(MAX_DEFICIT, wanted);
    if (deficit === 0 && this.hasLost) return;
    const age = deficit === 0 ? 0 : deficit >= OLD_DEFICIT ? OLD : state & OLD;
    const probabilities = this.next[(state & LOST) | age] as Float64Array;
    probabilities[deficit] = (probabilities[deficit] ?? 0) + probability;
  }

  private state(index: number): Float64Array {
    return this.now[index] as Float64Array;
  }
}
