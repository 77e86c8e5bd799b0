/** Place any DAG in layers from left to right: few crossings, straight lines, nothing on top of anything. */

import { uncross } from "./crossings";
import { layersOf } from "./layers";

export interface Size {
  width: number;
  height: number;
  /** Between layers, where the queues are drawn. */
  gap: number;
  /** Between the stages of a layer. */
  row: number;
}

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
  layer: number;
  /** The place in its layer, from the top. */
  order: number;
}

export interface Point {
  x: number;
  y: number;
}

export interface Layout {
  width: number;
  height: number;
  boxes: Box[];
  /** For each edge the points it passes, from the side of its sender to that of its receiver. */
  routes: Point[][];
}

/** A stage, or the place where a long edge passes a layer. */
export interface Spot {
  layer: number;
  node: number | null;
  before: number[];
  after: number[];
  y: number;
}

const PASSING = 20;
const BEND = 30;
const SWEEPS = 20;

/** Who stands in which layer and in which order there; it does not depend on sizes. */
export interface Order {
  spots: Spot[];
  paths: number[][];
  columns: number[][];
}

export function order(nodes: number, edges: { from: number; to: number }[]): Order {
  const { spots, paths } = spotsOf(layersOf(nodes, edges), edges);
  return { spots, paths, columns: uncross(spots) };
}

export function layOut(nodes: number, edges: { from: number; to: number }[], size: Size, known?: Order): Layout {
  if (nodes === 0) return { width: 0, height: 0, boxes: [], routes: [] };
  const { spots, paths, columns } = known ?? order(nodes, edges);
  settle(spots, columns, size);
  straighten(spots, columns, size);

  const top = Math.min(...spots.map((spot) => spot.y - tall(spot, size) / 2));
  for (const spot of spots) spot.y -= top;
  const x = (layer: number) => layer * (size.width + size.gap);
  const boxes = spots.slice(0, nodes).map((spot, at) => ({
    x: x(spot.layer),
    y: spot.y - size.height / 2,
    width: size.width,
    height: size.height,
    layer: spot.layer,
    order: (columns[spot.layer] ?? []).indexOf(at),
  }));
  return {
    width: x(columns.length - 1) + size.width,
    height: Math.max(...spots.map((spot) => spot.y + tall(spot, size) / 2)),
    boxes,
    routes: routesOf(edges, paths, spots, boxes, x),
  };
}

function spotsOf(layers: number[], edges: { from: number; to: number }[]): { spots: Spot[]; paths: number[][] } {
  const spots: Spot[] = layers.map((layer, node) => ({ layer, node, before: [], after: [], y: 0 }));
  const link = (from: number, to: number) => {
    spots[from]?.after.push(to);
    spots[to]?.before.push(from);
  };
  const paths = edges.map(({ from, to }) => {
    const path = [from];
    for (let layer = (layers[from] ?? 0) + 1; layer < (layers[to] ?? 0); layer++) {
      spots.push({ layer, node: null, before: [], after: [], y: 0 });
      path.push(spots.length - 1);
    }
    path.push(to);
    for (let i = 1; i < path.length; i++) link(path[i - 1] ?? 0, path[i] ?? 0);
    return path;
  });
  return { spots, paths };
}

function tall(spot: Spot, size: Size): number {
  return spot.node === null ? PASSING : size.height;
}

/** Draw each spot to the middle of its neighbours, as far as the order of its layer and the distances allow. */
function settle(spots: Spot[], columns: number[][], size: Size): void {
  for (const column of columns) {
    let y = 0;
    for (const at of column) {
      const spot = spots[at] as Spot;
      spot.y = y + tall(spot, size) / 2;
      y += tall(spot, size) + size.row;
    }
    for (const at of column) (spots[at] as Spot).y -= y / 2;
  }
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const side = sweep % 2 ? "after" : "before";
    const both = sweep >= SWEEPS - 8;
    const order = sweep % 2 ? [...columns].reverse() : columns;
    for (const column of order) place(spots, column, size, (spot) => neighbours(spots, spot, both ? "both" : side));
  }
}

/** Take small bends out of what runs straight on: a step of a few pixels looks like a mistake. */
function straighten(spots: Spot[], columns: number[][], size: Size): void {
  const apart = (a: Spot, b: Spot) => (tall(a, size) + tall(b, size)) / 2 + size.row;
  const only = (list: number[]) => (list.length === 1 ? spots[list[0] ?? 0] : undefined);
  const align = (column: number[], side: "before" | "after", back: "before" | "after") => {
    column.forEach((at, i) => {
      const spot = spots[at] as Spot;
      const other = only(spot[side]);
      if (!other || other[back].length !== 1 || Math.abs(other.y - spot.y) > BEND) return;
      const [above, below] = [spots[column[i - 1] ?? -1], spots[column[i + 1] ?? -1]];
      const least = above ? above.y + apart(above, spot) : -Infinity;
      const most = below ? below.y - apart(spot, below) : Infinity;
      spot.y = Math.max(least, Math.min(most, other.y));
    });
  };
  for (const column of [...columns].reverse()) align(column, "after", "before");
  for (const column of columns) align(column, "before", "after");
}

function neighbours(spots: Spot[], spot: Spot, side: "before" | "after" | "both"): number[] {
  const near = side === "both" ? [...spot.before, ...spot.after] : spot[side];
  // What runs straight on, one to one, pulls harder.
  const straight = (at: number) => {
    const other = spots[at] as Spot;
    return spot.before.includes(at) ? other.after.length * spot.before.length : other.before.length * spot.after.length;
  };
  return near.flatMap((at) => (straight(at) === 1 ? [at, at, at, at] : [at]));
}

/** Least squares under a fixed order: neighbours that want to overlap move as one block (pool adjacent violators). */
function place(spots: Spot[], column: number[], size: Size, pullers: (spot: Spot) => number[]): void {
  const blocks: { sum: number; weight: number; members: number }[] = [];
  const offsets: number[] = [];
  let offset = 0;
  let previous: Spot | null = null;
  for (const at of column) {
    const spot = spots[at] as Spot;
    if (previous) offset += (tall(previous, size) + tall(spot, size)) / 2 + size.row;
    offsets.push(offset);
    const near = pullers(spot);
    const wish = near.length ? near.reduce((sum, each) => sum + (spots[each] as Spot).y, 0) / near.length : spot.y;
    // A bend in a long edge is worse than a stage a little off the middle.
    const weight = near.length === 0 ? 0.1 : spot.node === null ? 4 : 1;
    blocks.push({ sum: (wish - offset) * weight, weight, members: 1 });
    for (let last = blocks.length - 1; last > 0; last--) {
      const [upper, lower] = [blocks[last - 1], blocks[last]];
      if (!upper || !lower || upper.sum / upper.weight <= lower.sum / lower.weight) break;
      blocks.splice(last - 1, 2, {
        sum: upper.sum + lower.sum,
        weight: upper.weight + lower.weight,
        members: upper.members + lower.members,
      });
    }
    previous = spot;
  }
  let next = 0;
  for (const block of blocks) {
    for (let i = 0; i < block.members; i++, next++) {
      (spots[column[next] ?? 0] as Spot).y = block.sum / block.weight + (offsets[next] ?? 0);
    }
  }
}

/** Edges leave and reach a stage side by side, in the order of what is at their other ends. */
function routesOf(
  edges: { from: number; to: number }[],
  paths: number[][],
  spots: Spot[],
  boxes: Box[],
  x: (layer: number) => number,
): Point[][] {
  const port = (mine: (edge: { from: number; to: number }) => number, other: (path: number[]) => number) => {
    const out = edges.map(() => 0);
    boxes.forEach((box, node) => {
      const here = edges.map((_, at) => at).filter((at) => mine(edges[at] as { from: number; to: number }) === node);
      const far = (at: number) => spots[other(paths[at] ?? [])]?.y ?? 0;
      here.sort((a, b) => far(a) - far(b) || a - b);
      here.forEach((at, i) => {
        const room = Math.min(24, box.height / (here.length + 1));
        out[at] = box.y + box.height / 2 + (i - (here.length - 1) / 2) * room;
      });
    });
    return out;
  };
  const leaves = port((edge) => edge.from, (path) => path[1] ?? 0);
  const reaches = port((edge) => edge.to, (path) => path[path.length - 2] ?? 0);
  return edges.map(({ from, to }, at) => {
    const [sender, receiver] = [boxes[from] as Box, boxes[to] as Box];
    const points = [{ x: sender.x + sender.width, y: leaves[at] ?? 0 }];
    for (const passed of (paths[at] ?? []).slice(1, -1)) {
      const { layer, y } = spots[passed] as Spot;
      points.push({ x: x(layer), y }, { x: x(layer) + sender.width, y });
    }
    points.push({ x: receiver.x, y: reaches[at] ?? 0 });
    return points;
  });
}
