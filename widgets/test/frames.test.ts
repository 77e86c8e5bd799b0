import { describe, expect, test } from "vitest";
import { Flow } from "../src/flow";
import { decode, ofLast } from "../src/frame";
import { History } from "../src/history";

const FIELDS = { node: ["rows_in", "busy"], edge: ["fill"] };
const packed = (...values: number[]) => {
  const view = new DataView(new ArrayBuffer(values.length * 8));
  values.forEach((value, at) => view.setFloat64(at * 8, value, true));
  return view;
};

describe("a frame", () => {
  test("has its numbers under their names", () => {
    const { nodes, edges } = decode(packed(10, 0.5, 20, 0.25, 0.75), FIELDS, 2, 1);
    expect([nodes.get(0, "rows_in"), nodes.get(1, "busy"), edges.get(0, "fill")]).toEqual([10, 0.25, 0.75]);
  });

  test("may lie anywhere in its buffer", () => {
    const bytes = new Uint8Array(3 + 8);
    bytes.set(new Uint8Array(packed(0.75).buffer), 3);
    const view = new DataView(bytes.buffer, 3, 8);
    expect(decode(view, FIELDS, 0, 1).edges.get(0, "fill")).toBe(0.75);
  });

  test("knows nothing of columns that the kernel does not send, nor of NaN", () => {
    const { nodes } = decode(packed(NaN, 1), { node: ["lag_ms", "busy"], edge: [] }, 1, 0);
    expect(nodes.get(0, "p99_ms")).toBeNaN();
    expect(nodes.get(0, "lag_ms")).toBeNaN();
    expect(nodes.get(5, "busy")).toBeNaN();
  });

  test("of another graph is refused", () => {
    expect(() => decode(packed(1, 2, 3), FIELDS, 2, 1)).toThrow("a frame of 3 numbers does not fit 2 stages and 1 queues");
    expect(() => decode(new ArrayBuffer(12), FIELDS, 0, 1)).toThrow("12 bytes");
  });

  test("is read from the last state too", () => {
    const last = ofLast({ node: [[5, null]], edge: [[0.5]] }, FIELDS, 1, 1);
    expect(last?.nodes.get(0, "rows_in")).toBe(5);
    expect(last?.nodes.get(0, "busy")).toBeNaN();
    expect(ofLast({}, FIELDS, 1, 1)).toBeNull();
    expect(ofLast({ node: [[5, 1]], edge: [] }, FIELDS, 1, 1)).toBeNull();
  });
});

describe("the history", () => {
  test("keeps a value for each step, the newest of it", () => {
    const history = new History(1, 4, 1);
    expect([0.1, 0.9, 1.2, 2.5].map((at) => history.push(at, () => at * 10))).toEqual([true, false, true, true]);
    expect(history.of(0)).toEqual([9, 12, 25]);
  });

  test("forgets the oldest, and fills the gaps", () => {
    const history = new History(2, 4, 1);
    history.push(0, (row) => row);
    history.push(1, (row) => row + 10);
    history.push(4, (row) => row + 40);
    expect(history.of(0)).toEqual([10, 40, 40, 40]);
    expect(history.of(1)).toEqual([11, 41, 41, 41]);
    history.push(1_000, () => 7);
    expect(history.of(0)).toEqual([7, 7, 7, 7]);
  });

  test("leaves out what is older, and what is no number", () => {
    const history = new History(1, 4, 1);
    history.push(5, () => 1);
    expect(history.push(3, () => 99)).toBe(false);
    history.push(6, () => NaN);
    expect(history.of(0)).toEqual([1, 0]);
    history.clear();
    expect(history.of(0)).toEqual([]);
  });
});

describe("the flow", () => {
  const flow = () => {
    const said = { painted: [] as string[], acked: [] as number[], cancelled: 0 };
    let waiting: (() => void) | null = null;
    const made = new Flow<string>({
      soon: (callback) => {
        waiting = callback;
        return () => said.cancelled++;
      },
      paint: (frame) => said.painted.push(frame),
      ack: (seq) => said.acked.push(seq),
    });
    const repaint = () => {
      const now = waiting;
      waiting = null;
      now?.();
    };
    return { made, said, repaint };
  };

  test("paints the newest of those that came before a repaint", () => {
    const { made, said, repaint } = flow();
    made.take(1, "one");
    made.take(2, "two");
    made.take(3, "three");
    expect(said.painted).toEqual([]);
    repaint();
    repaint();
    expect(said.painted).toEqual(["three"]);
  });

  test("gives credit after painting, for one frame in five", () => {
    const { made, said, repaint } = flow();
    for (let seq = 1; seq <= 12; seq++) {
      made.take(seq, "");
      expect(said.acked).not.toContain(seq);
      repaint();
    }
    expect(said.acked).toEqual([1, 6, 11]);
  });

  test("credit counts what came, painted or not", () => {
    const { made, said, repaint } = flow();
    for (let seq = 1; seq <= 30; seq++) {
      made.take(seq, "");
      if (seq % 10 === 0) repaint();
    }
    expect(said.acked).toEqual([10, 20, 30]);
  });

  test("a frame that was overtaken is left out", () => {
    const { made, said, repaint } = flow();
    made.take(5, "new");
    made.take(4, "old");
    repaint();
    expect(said.painted).toEqual(["new"]);
  });

  test("paints no more when it is closed", () => {
    const { made, said } = flow();
    made.take(1, "one");
    made.close();
    made.close();
    expect([said.painted, said.cancelled]).toEqual([[], 1]);
  });
});
