import { describe, expect, test } from "vitest";
import { crossings, uncross } from "../src/crossings";
import { layersOf } from "../src/layers";
import { layOut, type Spot } from "../src/layout";
import { dag, edges, overlaps, SIZE, throughs } from "./graphs";

const chain = edges("0>1 1>2 2>3 3>4");
const diamond = edges("0>1 0>2 1>3 2>3");
const sides = edges("0>1 1>2 1>3 1>4");
const longWay = edges("0>1 1>2 2>3 3>4 0>4");

describe("layers", () => {
  test("a stage stands behind all that it reads from", () => {
    expect(layersOf(4, diamond)).toEqual([0, 1, 1, 2]);
    expect(layersOf(5, longWay)).toEqual([0, 1, 2, 3, 4]);
  });

  test("a source that is joined late stands just before the join", () => {
    expect(layersOf(5, edges("0>1 1>2 2>3 4>3"))).toEqual([0, 1, 2, 3, 2]);
  });

  test("stages that nothing binds stand in the first layer", () => {
    expect(layersOf(3, [])).toEqual([0, 0, 0]);
  });
});

describe("layout", () => {
  test("a chain is a straight line", () => {
    const { boxes, routes, width, height } = layOut(5, chain, SIZE);
    expect(new Set(boxes.map((box) => box.y))).toEqual(new Set([0]));
    expect(boxes.map((box) => box.x)).toEqual([0, 140, 280, 420, 560]);
    expect([width, height]).toEqual([660, 60]);
    expect(routes[0]).toEqual([
      { x: 100, y: 30 },
      { x: 140, y: 30 },
    ]);
  });

  test("a branch and what unites it lie around the middle", () => {
    const { boxes } = layOut(4, diamond, SIZE);
    const middle = (at: number) => (boxes[at]?.y ?? 0) + 30;
    expect(middle(0)).toBeCloseTo(middle(3));
    expect(middle(0)).toBeCloseTo((middle(1) + middle(2)) / 2);
  });

  test("edges leave a stage side by side, from the top for what is above", () => {
    const { boxes, routes } = layOut(5, sides, SIZE);
    const starts = routes.slice(1).map((route) => route[0]?.y ?? 0);
    const ends = [2, 3, 4].map((node) => boxes[node]?.y ?? 0);
    expect(new Set(starts).size).toBe(3);
    const byStart = [0, 1, 2].sort((a, b) => (starts[a] ?? 0) - (starts[b] ?? 0));
    const byEnd = [0, 1, 2].sort((a, b) => (ends[a] ?? 0) - (ends[b] ?? 0));
    expect(byStart).toEqual(byEnd);
  });

  test("a long edge goes around what it passes", () => {
    const layout = layOut(5, longWay, SIZE);
    expect(layout.routes[4]?.length).toBe(8);
    expect(throughs(layout, longWay)).toEqual([]);
  });

  test("two edges between the same stages are two lines", () => {
    const { routes } = layOut(2, edges("0>1 0>1"), SIZE);
    expect(routes[0]?.[0]?.y).not.toBe(routes[1]?.[0]?.y);
  });

  test("nothing is a layout too", () => {
    expect(layOut(0, [], SIZE)).toEqual({ width: 0, height: 0, boxes: [], routes: [] });
    expect(layOut(1, [], SIZE).boxes).toHaveLength(1);
  });

  test("the same graph is laid out in the same way", () => {
    const list = dag(40, 5);
    expect(layOut(40, list, SIZE)).toEqual(layOut(40, list, SIZE));
  });

  test.each(Array.from({ length: 60 }, (_, at) => at + 1))("a random graph of %i: no overlap, all forward, all inside", (nodes) => {
    const seed = nodes * 7;
    const list = dag(nodes, seed);
    const layout = layOut(nodes, list, SIZE);
    expect(overlaps(layout)).toEqual([]);
    expect(throughs(layout, list)).toEqual([]);
    for (const { from, to } of list) expect(layout.boxes[from]?.layer).toBeLessThan(layout.boxes[to]?.layer ?? -1);
    for (const { x, y, width, height } of layout.boxes) {
      expect(Math.min(x, y)).toBeGreaterThan(-1e-6);
      expect(x + width).toBeLessThan(layout.width + 1e-6);
      expect(y + height).toBeLessThan(layout.height + 1e-6);
    }
  });

  test("sixty stages are laid out within a tenth of a second", () => {
    const list = dag(60, 11);
    layOut(60, list, SIZE);
    const start = performance.now();
    for (let i = 0; i < 5; i++) layOut(60, list, SIZE);
    // Some 10 ms each on a slow machine.
    expect((performance.now() - start) / 5).toBeLessThan(100);
  });
});

describe("crossings", () => {
  const spots = (nodes: number, list: { from: number; to: number }[]): Spot[] => {
    const layers = layersOf(nodes, list);
    return layers.map((layer, node) => ({
      layer,
      node,
      before: list.filter((edge) => edge.to === node).map((edge) => edge.from),
      after: list.filter((edge) => edge.from === node).map((edge) => edge.to),
      y: 0,
    }));
  };

  test("they are counted", () => {
    const crossed = spots(4, edges("0>3 1>2"));
    expect(crossings(crossed, [[0, 1], [2, 3]])).toBe(1);
    expect(crossings(crossed, [[0, 1], [3, 2]])).toBe(0);
  });

  test("a ladder whose rungs are mixed up is put in order", () => {
    const ladder = edges("0>7 1>6 2>5 3>4 4>11 5>10 6>9 7>8");
    const found = spots(12, ladder);
    expect(crossings(found, uncross(found))).toBe(0);
  });

  test("a tree has none", () => {
    const tree = edges("0>1 0>2 0>3 1>4 2>5 1>6 3>7 2>8 3>9 1>10");
    const found = spots(11, tree);
    expect(crossings(found, uncross(found))).toBe(0);
  });

  test("what must cross crosses once", () => {
    const found = spots(4, edges("0>2 0>3 1>2 1>3"));
    expect(crossings(found, uncross(found))).toBe(1);
  });
});
