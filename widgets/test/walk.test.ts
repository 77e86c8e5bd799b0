import { expect, test } from "vitest";
import { layOut } from "../src/layout";
import { type Item, step } from "../src/walk";
import { SIZE } from "./graphs";

const EDGES = [
  [0, 1],
  [1, 2],
  [1, 3],
  [2, 4],
  [3, 4],
].map(([from, to]) => ({ from: from ?? 0, to: to ?? 0, port: 0, tag: "main" }));
const { boxes } = layOut(5, EDGES, SIZE);
const walk = (from: Item, ...keys: string[]) =>
  keys.reduce<Item | null>((at, key) => at && step(at, key, EDGES, boxes, null), from);

test("right and left go along the stream, by way of the queues", () => {
  expect(walk({ node: 0 }, "ArrowRight")).toEqual({ edge: 0 });
  expect(walk({ node: 0 }, "ArrowRight", "ArrowRight")).toEqual({ node: 1 });
  expect(walk({ node: 1 }, "ArrowLeft", "ArrowLeft")).toEqual({ node: 0 });
  expect(walk({ node: 4 }, "ArrowRight")).toBeNull();
});

test("the main stream goes before side outputs, however straight those are", () => {
  const list = [
    { from: 0, to: 1, port: 0, tag: "late" },
    { from: 0, to: 2, port: 0, tag: "main" },
  ];
  expect(step({ node: 0 }, "ArrowRight", list, layOut(3, list, SIZE).boxes, null)).toEqual({ edge: 1 });
});

test("up and down go to the neighbours in a layer, and among queues that share an end", () => {
  const [upper, lower] = [2, 3].sort((a, b) => (boxes[a]?.y ?? 0) - (boxes[b]?.y ?? 0)) as [number, number];
  expect(walk({ node: upper }, "ArrowDown")).toEqual({ node: lower });
  expect(walk({ node: upper }, "ArrowUp")).toBeNull();
  const edge = (to: number) => EDGES.findIndex((each) => each.from === 1 && each.to === to);
  expect(walk({ edge: edge(upper) }, "ArrowDown")).toEqual({ edge: edge(lower) });
});

test("home and end are where the stream begins and ends", () => {
  expect(walk({ node: 2 }, "Home")).toEqual({ node: 0 });
  expect(walk({ node: 2 }, "End")).toEqual({ node: 4 });
  expect(walk({ edge: 3 }, "Home")).toEqual({ node: 0 });
  expect(walk({ node: 2 }, "q")).toBeNull();
});

test("all that is shown can be reached", () => {
  const seen = new Set<string>();
  const todo: Item[] = [{ node: 0 }];
  for (let item = todo.pop(); item; item = todo.pop()) {
    const key = JSON.stringify(item);
    if (seen.has(key)) continue;
    seen.add(key);
    for (const arrow of ["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown"]) {
      const next = walk(item, arrow);
      if (next) todo.push(next);
    }
  }
  expect(seen.size).toBe(5 + EDGES.length);
});

test("where the stages are a list, arrows go through the list", () => {
  const list = [0, 1, 3, 2, 4];
  expect(step({ node: 1 }, "ArrowDown", EDGES, boxes, list)).toEqual({ node: 3 });
  expect(step({ node: 3 }, "ArrowUp", EDGES, boxes, list)).toEqual({ node: 1 });
  expect(step({ node: 0 }, "ArrowUp", EDGES, boxes, list)).toBeNull();
});
