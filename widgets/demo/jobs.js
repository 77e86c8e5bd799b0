/** Jobs to show: their graphs, and what each stage can do (rows a second, what share of rows goes on). */

const node = (label, kind, speed, more = {}) => ({ label, kind, speed, keeps: 1, does: [label], ...more });
const link = (from, to, tag = "main") => ({ from, to, tag });

export const JOBS = {
  three: () => ({
    name: "clicks",
    nodes: [
      node("read", "read", 60_000, { does: ["read parquet clicks/*.parquet"] }),
      node("enrich", "udf", 14_000, { does: ["filter bot is false", "with country = geo(ip)", "select 5 columns"] }),
      node("write", "write", 90_000, { does: ["write parquet out/clicks"], sink: true }),
    ],
    edges: [link(0, 1), link(1, 2)],
  }),
  branches: () => ({
    name: "flights and weather",
    nodes: [
      node("flights", "read", 40_000),
      node("weather", "read", 9_000),
      node("planes", "read", 2_000),
      node("event time", "event_time", 80_000),
      node("clean", "filter", 70_000, { keeps: 0.9, sides: ["invalid"] }),
      node("both", "union", 90_000),
      node("carrier_code", "wasm", 11_000),
      node("hourly", "agg", 50_000, { keeps: 0.02, stateful: true, sides: ["late"] }),
      node("by airport", "agg", 60_000, { keeps: 0.05, stateful: true }),
      node("to parquet", "write", 90_000, { sink: true }),
      node("late rows", "write", 90_000, { sink: true }),
      node("bad rows", "write", 90_000, { sink: true }),
    ],
    edges: [
      link(0, 3),
      link(1, 5),
      link(2, 6),
      link(3, 4),
      link(4, 5),
      link(4, 11, "invalid"),
      link(5, 6),
      link(6, 7),
      link(6, 8),
      link(7, 9),
      link(7, 10, "late"),
      link(8, 9),
    ],
  }),
  sixty: () => grown(60, 7),
};

/** A graph of some size, the same for the same seed. */
export function grown(size, seed) {
  const random = mulberry(seed);
  const kinds = ["filter", "with_columns", "udf", "agg", "wasm", "union", "key_by"];
  const nodes = [];
  const edges = [];
  for (let at = 0; at < size; at++) {
    const source = at < Math.max(1, size / 12);
    const kind = source ? "read" : kinds[Math.floor(random() * kinds.length)];
    nodes.push(node(`${source ? "source" : kind.replace("with_columns", "with")} ${at}`, kind, 20_000 + random() * 60_000));
    if (source) continue;
    const inputs = kind === "union" ? 2 + Math.floor(random() * 2) : 1;
    const near = new Set();
    while (near.size < Math.min(inputs, at)) near.add(Math.max(0, at - 1 - Math.floor(random() * random() * 14)));
    for (const from of near) edges.push(link(from, at));
  }
  nodes.forEach((each, at) => {
    if (edges.some(({ from }) => from === at) || each.kind === "read") return;
    each.kind = "write";
    each.sink = true;
    each.label = `write ${at}`;
  });
  nodes[Math.floor(size * 0.4)].speed = 1_500;
  return { name: `a graph of ${size} stages`, nodes, edges };
}

function mulberry(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
