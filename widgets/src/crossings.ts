/** Order the layers so that few edges cross: sweeps of barycenters, then exchanges of neighbours. */

import type { Spot } from "./layout";

const SWEEPS = 24;

/** Return for each layer its spots from top to bottom. */
export function uncross(spots: Spot[]): number[][] {
  let columns = walked(spots);
  let best = columns.map((column) => [...column]);
  let fewest = crossings(spots, best);
  for (let sweep = 0; sweep < SWEEPS && fewest > 0; sweep++) {
    columns = sweep % 2 ? ordered(spots, columns, "after") : ordered(spots, columns, "before");
    exchange(spots, columns);
    const now = crossings(spots, columns);
    if (now < fewest) {
      fewest = now;
      best = columns.map((column) => [...column]);
    }
  }
  return best;
}

export function crossings(spots: Spot[], columns: number[][]): number {
  return columns.reduce((sum, column, at) => sum + (at ? between(spots, columns[at - 1] ?? [], column) : 0), 0);
}

/** A walk in depth puts what hangs together side by side, which is a good start. */
function walked(spots: Spot[]): number[][] {
  const columns: number[][] = [];
  const seen = new Set<number>();
  const visit = (at: number) => {
    if (seen.has(at)) return;
    seen.add(at);
    const spot = spots[at] as Spot;
    (columns[spot.layer] ??= []).push(at);
    for (const next of [...spot.before, ...spot.after]) visit(next);
  };
  spots.forEach((spot, at) => spot.before.length || visit(at));
  spots.forEach((_, at) => visit(at));
  return Array.from(columns, (column) => column ?? []);
}

function ordered(spots: Spot[], columns: number[][], side: "before" | "after"): number[][] {
  const out = columns.map((column) => [...column]);
  const place = new Map<number, number>();
  const note = (column: number[]) => column.forEach((at, i) => place.set(at, (i + 0.5) / column.length));
  const sequence = side === "before" ? out.keys() : [...out.keys()].reverse();
  for (const layer of sequence) {
    const column = out[layer] ?? [];
    note(column);
    const wish = new Map(
      column.map((at) => {
        const near = (spots[at] as Spot)[side].map((each) => place.get(each) ?? 0.5);
        return [at, near.length ? near.reduce((a, b) => a + b, 0) / near.length : (place.get(at) ?? 0.5)];
      }),
    );
    column.sort((a, b) => (wish.get(a) ?? 0) - (wish.get(b) ?? 0));
    note(column);
  }
  return out;
}

function exchange(spots: Spot[], columns: number[][]): void {
  for (let round = 0, better = true; better && round < 4; round++) {
    better = false;
    for (let layer = 0; layer < columns.length; layer++) {
      const column = columns[layer] as number[];
      const around = () =>
        between(spots, columns[layer - 1] ?? [], column) + between(spots, column, columns[layer + 1] ?? []);
      let now = around();
      for (let i = 0; i + 1 < column.length && now > 0; i++) {
        const [upper, lower] = [column[i] as number, column[i + 1] as number];
        [column[i], column[i + 1]] = [lower, upper];
        const then = around();
        if (then < now) {
          now = then;
          better = true;
        } else [column[i], column[i + 1]] = [upper, lower];
      }
    }
  }
}

function between(spots: Spot[], left: number[], right: number[]): number {
  const place = new Map(right.map((at, i) => [at, i]));
  const ends = left.flatMap((at) =>
    (spots[at] as Spot).after
      .map((next) => place.get(next))
      .filter((i) => i !== undefined)
      .sort((a, b) => a - b),
  );
  let sum = 0;
  for (let i = 0; i < ends.length; i++) for (let j = i + 1; j < ends.length; j++) if ((ends[i] ?? 0) > (ends[j] ?? 0)) sum++;
  return sum;
}
