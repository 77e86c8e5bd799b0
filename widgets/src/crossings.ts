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

/** Let neighbours in a layer change places where that leaves fewer crossings. */
function exchange(spots: Spot[], columns: number[][]): void {
  for (let round = 0, better = true; better && round < 4; round++) {
    better = false;
    columns.forEach((column, layer) => {
      const sides = [placesIn(columns[layer - 1] ?? []), placesIn(columns[layer + 1] ?? [])] as const;
      const ends = (at: number) => {
        const { before, after } = spots[at] as Spot;
        return [before.map((each) => sides[0].get(each) ?? 0), after.map((each) => sides[1].get(each) ?? 0)] as const;
      };
      for (let i = 0; i + 1 < column.length; i++) {
        const [upper, lower] = [column[i] as number, column[i + 1] as number];
        const [a, b] = [ends(upper), ends(lower)];
        const now = inverted(a[0], b[0]) + inverted(a[1], b[1]);
        const then = inverted(b[0], a[0]) + inverted(b[1], a[1]);
        if (then >= now) continue;
        [column[i], column[i + 1]] = [lower, upper];
        better = true;
      }
    });
  }
}

function placesIn(column: number[]): Map<number, number> {
  return new Map(column.map((at, i) => [at, i]));
}

function inverted(upper: number[], lower: number[]): number {
  return upper.reduce((sum, a) => sum + lower.filter((b) => a > b).length, 0);
}

function between(spots: Spot[], left: number[], right: number[]): number {
  const place = placesIn(right);
  const ends = left.flatMap((at) =>
    (spots[at] as Spot).after
      .map((next) => place.get(next))
      .filter((i) => i !== undefined)
      .sort((a, b) => a - b),
  );
  let sum = 0;
  ends.forEach((end, i) => {
    for (let j = 0; j < i; j++) if ((ends[j] ?? 0) > end) sum++;
  });
  return sum;
}
