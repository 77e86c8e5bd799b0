import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Buttons } from "../src/buttons";
import { stateOf } from "../src/card";
import { worded } from "../src/dom";
import { Header } from "../src/header";
import { Log } from "../src/log";
import type { Action, Graph, RowsMessage } from "../src/model";
import { Panel } from "../src/panel";
import { path } from "../src/spark";
import { table } from "../src/table";

const NASTY = "<img src=x onerror=alert(1)>";
const ALL: Action[] = ["pause", "resume", "step", "drain", "stop"];
const GRAPH: Graph = {
  name: "g",
  nodes: [
    { id: "a", kind: "read", label: "a", does: ["a"], stateful: false, sides: [], sink: false },
    { id: "b", kind: "agg", label: "b", does: ["x", "y"], stateful: true, sides: [], sink: false },
  ],
  edges: [{ from: 0, to: 1, port: 0, tag: "main" }],
};

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("text from a job stays text", () => {
  test("in tables", () => {
    const made = table([{ name: NASTY, dtype: NASTY, summary: NASTY }], [[NASTY], [null]], NASTY);
    expect(made.querySelector("img")).toBeNull();
    expect(made.querySelector("td")?.textContent).toBe(NASTY);
    expect(made.querySelector("td.null")?.textContent).toBe("null");
  });

  test("in sentences and in the log", () => {
    const log = new Log();
    log.add([{ n: 1, at: 0, level: "error", text: NASTY }]);
    const line = document.createElement("p");
    line.append(...worded(`\`${NASTY}\` limits`));
    for (const each of [log.node(), line]) {
      expect(each.querySelector("img")).toBeNull();
      expect(each.textContent).toContain(NASTY);
    }
    expect(line.querySelector("code")?.textContent).toBe(NASTY);
  });
});

describe("the log", () => {
  const line = (n: number) => ({ n, at: n, level: "info" as const, text: `line ${n}` });

  test("has each line once, and the newest two hundred", () => {
    const log = new Log();
    log.add([line(1), line(2)]);
    log.add([line(2), line(3)]);
    expect(log.node().querySelectorAll("li").length).toBe(3);
    log.add(Array.from({ length: 300 }, (_, at) => line(at + 4)));
    const lines = [...log.node().querySelectorAll(".text")].map((each) => each.textContent);
    expect([lines.length, lines[0], lines.at(-1)]).toEqual([200, "line 104", "line 303"]);
  });

  test("says in its title how bad it is", () => {
    const log = new Log();
    log.add([line(1), { n: 2, at: 1, level: "warning", text: "w" }, { n: 3, at: 1, level: "error", text: "e" }]);
    expect(log.node().querySelector("summary")?.textContent).toBe("Log · 3 lines · 1 warning · 1 error");
  });
});

describe("the buttons", () => {
  const made = () => {
    const [acts, notes] = [[] as string[], [] as string[]];
    const buttons = new Buttons((action) => acts.push(action), (text) => notes.push(text));
    const at = (action: string) => buttons.node().querySelector<HTMLButtonElement>(`[data-do=${action}]`);
    return { buttons, acts, notes, at };
  };

  test("are those that the job offers, and make sense", () => {
    const { buttons, at } = made();
    buttons.show(["pause", "resume", "stop"], "running");
    expect(buttons.node().textContent).toBe("PauseResumeStop");
    expect([at("pause")?.hidden, at("resume")?.hidden, at("stop")?.disabled]).toEqual([false, true, false]);
    buttons.show(["pause", "resume", "stop"], "paused");
    expect([at("pause")?.hidden, at("resume")?.hidden]).toEqual([true, false]);
    buttons.show(["pause", "resume", "stop"], "finished");
    expect([at("pause")?.disabled, at("stop")?.disabled]).toEqual([true, true]);
  });

  test("say when an answer takes long, and ask once", () => {
    const { buttons, acts, notes, at } = made();
    buttons.show(ALL, "running");
    at("stop")?.click();
    at("stop")?.click();
    expect(acts).toEqual(["stop"]);
    vi.advanceTimersByTime(900);
    expect(notes).toEqual([]);
    vi.advanceTimersByTime(200);
    expect(notes).toEqual(["the kernel is busy: waiting for the cell to end"]);
    buttons.done("stop", null, "stopped after 12 batches");
    expect(notes.at(-1)).toBe("stopped after 12 batches");
    buttons.done("drain", "there is no end to wait for");
    expect(notes.at(-1)).toBe("drain: there is no end to wait for");
  });
});

test("a kernel that has heard a command is not called busy, however long the work takes", () => {
  const notes: string[] = [];
  const buttons = new Buttons(() => {}, (text) => notes.push(text));
  buttons.show(ALL, "running");
  buttons.node().querySelector<HTMLElement>("[data-do=drain]")?.click();
  buttons.doing("drain");
  vi.advanceTimersByTime(5_000);
  expect(notes.filter(Boolean)).toEqual([]);
  expect(buttons.node().querySelector("[data-do=drain]")?.getAttribute("aria-busy")).toBe("true");
  buttons.done("drain", null);
  expect(buttons.node().querySelector("[data-do=drain]")?.hasAttribute("aria-busy")).toBe(false);
});

test("the verdict changes at most once a second, and the last one is said", () => {
  const header = new Header("job", () => {}, () => {});
  const totals = { rows_in: 1, rows_out: 1, rows_per_s: 1, late: 0, invalid: 0, progress: null, memory: 1 };
  const said = () => header.node().querySelector("[role=status].verdict")?.textContent;
  const say = (words: string, now: number) => {
    header.paint({ node: null, words }, totals, 1);
    header.describe(now);
  };
  say("one", 0);
  say("two", 300);
  expect(said()).toBe("one");
  say("three", 600);
  header.describe(1_100);
  expect(said()).toBe("three");
});

describe("the panel", () => {
  const opened = (item: { node: number } | { edge: number }) => {
    const sent: Record<string, unknown>[] = [];
    const closed: unknown[] = [];
    const panel = new Panel({ send: (message) => sent.push(message as never), closed: (each) => closed.push(each) });
    panel.open(item, GRAPH);
    return { panel, sent, closed };
  };
  const rows = (id: number, value: string): RowsMessage => {
    const columns = [{ name: "x", dtype: "String", summary: "" }];
    return { t: "rows", id, title: "", columns, rows: [[value]], of: 9, note: "" };
  };

  test("asks for what was opened, and shows only the newest answer", () => {
    const { panel, sent } = opened({ node: 0 });
    panel.open({ edge: 0 }, GRAPH);
    expect(sent).toEqual([
      { t: "peek", id: 1, node: 0 },
      { t: "peek", id: 2, edge: 0 },
    ]);
    panel.take(rows(1, "old"));
    expect(panel.node().querySelector("td")).toBeNull();
    panel.take(rows(2, "new"));
    expect(panel.node().querySelector("td")?.textContent).toBe("new");
    expect(panel.node().querySelector("caption")?.textContent).toBe("1 of 9 rows");
  });

  test("has the windows of a stage with state, and what each waits for", () => {
    const { panel, sent } = opened({ node: 1 });
    panel.node().querySelector<HTMLElement>("[data-tab=windows]")?.click();
    expect(sent.at(-1)).toEqual({ t: "windows", id: 2, node: 1 });
    const columns = [{ name: "start", dtype: "Datetime", summary: "" }];
    panel.take({ t: "windows", id: 2, title: "", watermark: "09:56", columns, rows: [["09:00"]], waits: ["4 min"], of: 1 });
    expect([...panel.node().querySelectorAll("td")].map((cell) => cell.textContent)).toEqual(["4 min", "09:00"]);
    expect(panel.node().textContent).toContain("watermark 09:56");
  });

  test("shows why there is nothing to show", () => {
    const { panel } = opened({ node: 0 });
    panel.take({ t: "rows", id: 1, title: "", columns: [], rows: [], of: 0, note: "no batch has passed yet" });
    expect(panel.node().querySelector("table")).toBeNull();
    expect(panel.node().querySelector(".note")?.textContent).toBe("no batch has passed yet");
  });

  test("has no tab of windows for a stage without state", () => {
    expect(opened({ node: 0 }).panel.node().querySelector("[role=tab]")).toBeNull();
  });

  test("says when the kernel is busy, and where it was when it is closed", () => {
    const { panel, closed } = opened({ node: 0 });
    vi.advanceTimersByTime(1_100);
    expect(panel.node().querySelector(".note")?.textContent).toContain("waiting for the cell to end");
    panel.close();
    panel.close();
    expect([panel.node().hidden, closed]).toEqual([true, [{ node: 0 }]]);
  });
});

test("only the culprit is a bottleneck; what waits for it is called backpressured", () => {
  expect(stateOf(1, 0, 0, true)).toBe("bottleneck");
  expect(stateOf(0.2, 0.8, 0, false)).toBe("backpressured");
  expect(stateOf(0.9, 0.1, 0, false)).toBe("busy");
  expect(stateOf(0.1, 0, 0.9, false)).toBe("idle");
  expect(stateOf(NaN, NaN, NaN, false)).toBe("");
});

test("a sparkline ends at the right, and its highest point touches the top", () => {
  const { d, last } = path([0, 5, 10, 5], 120);
  expect(d.split(/[ML]/).slice(1).map((point) => point.split(" ")[1])).toEqual(["24", "12", "0", "12"]);
  expect(d.endsWith("L80 12")).toBe(true);
  expect(last).toBe(12);
  expect(path([], 120).d).toBe("");
  expect(path([0, 0], 120).last).toBe(24);
});
