/** Graphs to lay out: known ones, and random ones that are the same for the same seed. */

import type { Layout } from "../src/layout";

export type Edges = { from: number; to: number }[];

export const edges = (text: string): Edges =>
  text.split(" ").map((pair) => {
    const [from, to] = pair.split(">").map(Number);
    return { from: from ?? 0, to: to ?? 0 };
  });

export const SIZE = { width: 100, height: 60, gap: 40, row: 10 };

export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A DAG with sources, branches, unions of up to four, edges over many layers, and sometimes two between the same stages. */
export function dag(nodes: number, seed: number): Edges {
  const next = random(seed);
  const out: Edges = [];
  for (let to = 1; to < nodes; to++) {
    if (next() < 0.1) continue;
    const inputs = next() < 0.25 ? 2 + Math.floor(next() * 3) : 1;
    for (let i = 0; i < inputs; i++) out.push({ from: Math.max(0, to - 1 - Math.floor(next() * next() * to)), to });
  }
  return out;
}

export function overlaps({ boxes }: Layout): string[] {
  const found: string[] = [];
  boxes.forEach((a, i) =>
    boxes.slice(i + 1).forEach((b, j) => {
      const apart = a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
      if (!apart) found.push(`${i} and ${i + 1 + j}`);
    }),
  );
  return found;
}

/** Edges that run through a stage which is not theirs. */
export function throughs({ boxes, routes }: Layout, list: Edges): string[] {
  return routes.flatMap((route, at) =>
    boxes.flatMap((box, node) => {
      const edge = list[at];
      if (node === edge?.from || node === edge?.to) return [];
      const hit = route.some((point, i) => {
        const to = route[i + 1];
        // Between two points of one height the line is straight; only those lie over a layer.
        return to && to.y === point.y && point.x < box.x + box.width && to.x > box.x && point.y > box.y && point.y < box.y + box.height;
      });
      return hit ? [`edge ${at} through ${node}`] : [];
    }),
  );
}
