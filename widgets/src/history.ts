/** The rates of the last minute, for sparklines: a ring with one column of numbers for each step of time. */

export class History {
  readonly step: number;
  readonly points: number;
  #width: number;
  #values: Float64Array;
  #last = -1;
  #held = 0;

  constructor(width: number, points = 120, step = 0.5) {
    this.#width = width;
    this.points = points;
    this.step = step;
    this.#values = new Float64Array(width * points);
  }

  get held(): number {
    return this.#held;
  }

  /** Note the rates at a time; returns whether a step has been added. What is older than the newest is left out. */
  push(elapsed: number, rate: (row: number) => number): boolean {
    const at = Math.floor(elapsed / this.step);
    if (at < this.#last) return false;
    const steps = this.#last < 0 ? 1 : Math.min(at - this.#last, this.points);
    for (let back = steps - 1; back >= 0; back--) this.#write(at - back, rate);
    if (steps === 0) this.#write(at, rate);
    this.#held = Math.min(this.points, this.#held + steps);
    this.#last = at;
    return steps > 0;
  }

  /** Return the rates of one stage, oldest first. */
  of(row: number): number[] {
    const out: number[] = [];
    for (let back = this.#held - 1; back >= 0; back--) {
      out.push(this.#values[this.#slot(this.#last - back) * this.#width + row] ?? 0);
    }
    return out;
  }

  clear(): void {
    this.#last = -1;
    this.#held = 0;
  }

  #slot(at: number): number {
    return ((at % this.points) + this.points) % this.points;
  }

  #write(at: number, rate: (row: number) => number): void {
    const from = this.#slot(at) * this.#width;
    for (let row = 0; row < this.#width; row++) {
      const value = rate(row);
      this.#values[from + row] = Number.isFinite(value) ? value : 0;
    }
  }
}
