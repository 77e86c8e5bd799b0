/** Where an arrow key leads: along the stream from stage to queue to stage, up and down among neighbours. */

import type { Box } from "./layout";
import { type EdgeInfo, isSide } from "./model";

export type Item = { node: number } | { edge: number };

/** `list`: the stages stand below each other in this order, and queues are not shown. */
export function step(item: Item, key: string, edges: EdgeInfo[], boxes: Box[], list: number[] | null): Item | null {
  if (list) return stepInList(item, key, list);
  if (key === "Home" || key === "End") {
    const ends = [...boxes.keys()].sort((a, b) => (boxes[a]?.layer ?? 0) - (boxes[b]?.layer ?? 0));
    const end = key === "Home" ? ends[0] : ends[ends.length - 1];
    return end === undefined ? null : { node: end };
  }
  if ("edge" in item) return stepFromEdge(item.edge, key, edges, boxes);
  const { node } = item;
  const height = (at: number) => (boxes[at]?.y ?? 0) - (boxes[node]?.y ?? 0);
  switch (key) {
    case "ArrowRight":
      return straightest(edges, (edge) => edge.from === node, (edge) => height(edge.to));
    case "ArrowLeft":
      return straightest(edges, (edge) => edge.to === node, (edge) => height(edge.from));
    case "ArrowDown":
    case "ArrowUp": {
      const column = [...boxes.keys()]
        .filter((at) => boxes[at]?.layer === boxes[node]?.layer)
        .sort((a, b) => height(a) - height(b));
      const next = column[column.indexOf(node) + (key === "ArrowDown" ? 1 : -1)];
      return next === undefined ? null : { node: next };
    }
    default:
      return null;
  }
}

function stepInList(item: Item, key: string, list: number[]): Item | null {
  const at = "node" in item ? list.indexOf(item.node) : 0;
  const to = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: list.length - 1 }[key];
  const node = to === undefined ? undefined : list[to];
  return node === undefined ? null : { node };
}

function stepFromEdge(at: number, key: string, edges: EdgeInfo[], boxes: Box[]): Item | null {
  const edge = edges[at];
  if (!edge) return null;
  if (key === "ArrowRight") return { node: edge.to };
  if (key === "ArrowLeft") return { node: edge.from };
  if (key !== "ArrowUp" && key !== "ArrowDown") return null;
  const slope = (each: number) => (boxes[edges[each]?.to ?? 0]?.y ?? 0) + (boxes[edges[each]?.from ?? 0]?.y ?? 0);
  // The queues beside it begin or end at the same stage.
  const beside = [...edges.keys()].filter((each) => edges[each]?.from === edge.from || edges[each]?.to === edge.to);
  beside.sort((a, b) => slope(a) - slope(b) || a - b);
  const next = beside[beside.indexOf(at) + (key === "ArrowDown" ? 1 : -1)];
  return next === undefined ? null : { edge: next };
}

/** The way straight on: the main stream before side outputs, then the flattest line. */
function straightest(
  edges: EdgeInfo[],
  mine: (edge: EdgeInfo) => boolean,
  height: (edge: EdgeInfo) => number,
): Item | null {
  const cost = (edge: EdgeInfo) => Math.abs(height(edge)) + (isSide(edge) ? 1e6 : 0);
  const found = [...edges.keys()].filter((at) => mine(edges[at] as EdgeInfo));
  found.sort((a, b) => cost(edges[a] as EdgeInfo) - cost(edges[b] as EdgeInfo));
  return found[0] === undefined ? null : { edge: found[0] };
}
