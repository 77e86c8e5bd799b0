import { describe, expect, test, vi } from "vitest";
import { doubles } from "../src/live";
import { LiveChart, nearest, reach } from "../src/live_chart";
import { LiveTable } from "../src/live_table";
import { label, ticks, timeLabel, timeTicks, Zone } from "../src/ticks";

class Model {
  sent: unknown[] = [];
  ended = false;
  #hear: ((message: unknown, buffers: DataView[]) => void) | null = null;
  get() {
    return this.ended;
  }
  on(name: string, handler: (...args: never[]) => void) {
    if (name === "msg:custom") this.#hear = handler as unknown as (message: unknown, buffers: DataView[]) => void;
  }
  off() {
    this.#hear = null;
  }
  send(message: unknown) {
    this.sent.push(message);
  }
  async say(message: unknown, numbers: number[] = []) {
    // Buffers of a kernel begin anywhere.
    const bytes = new Uint8Array(numbers.length * 8 + 3);
    bytes.set(new Uint8Array(new Float64Array(numbers).buffer), 3);
    this.#hear?.(message, [new DataView(bytes.buffer, 3)]);
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  }
}

const rows = (seq: number, cells: (string | null)[][]) => ({
  ...{ t: "show", seq, title: "hourly", came: 12_340 },
  columns: [{ name: "origin", dtype: "String" }, { name: "n", dtype: "Int64" }],
  rows: cells,
});

describe("a table", () => {
  test("greets, paints, and asks for the next when it has", async () => {
    const model = new Model();
    const view = new LiveTable(model);
    expect(model.sent).toEqual([{ t: "hello", view: expect.stringMatching(/^v\d+$/) }]);
    await model.say(rows(1, [["JFK", "1"], [null, "2"]]));
    expect(model.sent[1]).toEqual({ t: "ack", seq: 1 });
    expect([...view.node().querySelectorAll("td")].map((cell) => cell.textContent)).toEqual(["JFK", "1", "null", "2"]);
    expect(view.node().querySelector("td.null")?.textContent).toBe("null");
    expect(view.node().querySelector("header")?.textContent).toBe("hourly12,340 rowslive");
  });

  test("leaves alone what did not change, and takes rows away that are gone", async () => {
    const model = new Model();
    const view = new LiveTable(model);
    await model.say(rows(1, [["JFK", "1"], ["EWR", "2"]]));
    const before = view.node().querySelector("td")?.firstChild;
    await model.say(rows(2, [["JFK", "5"]]));
    expect(view.node().querySelector("td")?.firstChild).toBe(before);
    expect(view.node().querySelectorAll("tbody tr").length).toBe(1);
  });

  test("says when nobody is heard any more", async () => {
    vi.useFakeTimers({ toFake: ["Date", "setInterval", "clearInterval"] });
    const model = new Model();
    const view = new LiveTable(model);
    await model.say(rows(1, []));
    const state = () => view.node().querySelector(".state")?.textContent;
    expect(state()).toBe("live");
    vi.advanceTimersByTime(5_000);
    await model.say({ t: "alive" });
    vi.advanceTimersByTime(5_000);
    expect(state()).toBe("live");
    vi.advanceTimersByTime(3_000);
    expect(state()).toBe("disconnected");
    await model.say({ t: "alive" });
    expect(state()).toBe("live");
    view.close();
    vi.useRealTimers();
  });

  test("never makes markup of a value, and hears nothing when closed", async () => {
    const model = new Model();
    const view = new LiveTable(model);
    await model.say(rows(1, [["<img src=x>", "1"]]));
    expect(view.node().querySelector("img")).toBeNull();
    view.close();
    await model.say(rows(2, []));
    expect(view.node().querySelectorAll("tbody tr").length).toBe(1);
  });
});

describe("a chart", () => {
  const message = { t: "show", seq: 1, title: "hourly", came: 5, x: "at", y: "n", by: "origin", time: false, zone: "", note: "" };

  test("draws a line for each series and says so", async () => {
    const model = new Model();
    const view = new LiveChart(model);
    await model.say({ ...message, series: [{ name: "JFK", n: 2 }, { name: "EWR", n: 1 }] }, [0, 10, 5, 1, 3, 2]);
    const paths = [...view.node().querySelectorAll("svg[role] path")].map((path) => path.getAttribute("d"));
    expect(paths).toEqual(["M64.0 229.6L724.0 22.4", "M394.0 126.0h0"]);
    expect(view.node().querySelector("svg[role]")?.getAttribute("aria-label")).toBe("n over at by origin: 2 lines, 5 rows");
    expect([...view.node().querySelectorAll("li")].map((item) => item.textContent)).toEqual(["JFK", "EWR"]);
  });

  test("tells values by the arrow keys", async () => {
    const model = new Model();
    const view = new LiveChart(model);
    await model.say({ ...message, series: [{ name: "n", n: 2 }], by: "" }, [0, 10, 1, 3]);
    view.node().dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
    expect(view.node().querySelector(".read")?.textContent).toBe("10: n 3");
    view.node().dispatchEvent(new KeyboardEvent("keydown", { key: "Home" }));
    expect(view.node().querySelector(".read")?.textContent).toBe("0: n 1");
  });

  test("stands before the first row", async () => {
    const model = new Model();
    const view = new LiveChart(model);
    await model.say({ ...message, series: [], came: 0 });
    expect(view.node().querySelectorAll("svg[role] path").length).toBe(0);
  });
});

test("axes have round values inside of what is shown", () => {
  expect(ticks(0, 10, 5).at).toEqual([0, 2, 4, 6, 8, 10]);
  expect(ticks(-1.3, 1.2, 5).at.map((x) => label(x, 0.5))).toEqual(["-1.0", "-0.5", "0.0", "0.5", "1.0"]);
  expect(ticks(5, 5, 5).at).toEqual([5]);
  for (let n = 0; n < 500; n++) {
    const low = (Math.random() - 0.5) * 10 ** (n % 12);
    const high = low + Math.random() * 10 ** ((n * 7) % 9) + 1e-3;
    for (const { at } of [ticks(low, high, 6), timeTicks(low, high, 6, new Zone("America/New_York"))]) {
      expect(at.length).toBeLessThanOrEqual(9);
      expect(at.every((x) => x >= low - 1e-6 && x <= high + (high - low) * 1e-6)).toBe(true);
    }
  }
});

test("times are told as finely as they are apart", () => {
  const ms = Date.UTC(2013, 0, 5, 10, 30, 15, 250);
  expect([86_400_000, 3_600_000, 1_000, 10].map((step) => timeLabel(ms, step, new Zone("")))).toEqual([
    "2013-01-05",
    "01-05 10:30",
    "10:30:15",
    "30:15.250",
  ]);
});

describe("a zone", () => {
  const zone = new Zone("America/New_York");
  const labels = (low: number, high: number) => {
    const { at, step } = timeTicks(low, high, 6, zone);
    return at.map((x) => timeLabel(x, step, zone));
  };

  test("is that of the column: days begin at its midnight, before and after summer time", () => {
    const { at } = timeTicks(Date.UTC(2013, 10, 1), Date.UTC(2013, 10, 6), 6, zone);
    expect(at).toEqual([4, 4, 4, 5, 5].map((hour, day) => Date.UTC(2013, 10, day + 1, hour)));
    expect(labels(Date.UTC(2013, 10, 1), Date.UTC(2013, 10, 6))[2]).toBe("2013-11-03");
  });

  test("tells an hour that comes twice twice, and none that never comes", () => {
    const night = (month: number, day: number) => labels(Date.UTC(2013, month, day, 4), Date.UTC(2013, month, day, 8));
    const autumn = ["00:00", "01:00", "01:00", "02:00", "03:00"];
    expect(night(10, 3)).toEqual(autumn.map((hour) => `11-03 ${hour}`));
    const spring = ["23:00", "00:00", "01:00", "03:00", "04:00"].map((hour, at) => `03-${at ? 10 : "09"} ${hour}`);
    expect(night(2, 10)).toEqual(spring);
    expect([5, 6].map((hour) => zone.when(Date.UTC(2013, 10, 3, hour, 30)))).toEqual([
      "2013-11-03 01:30:00 EDT",
      "2013-11-03 01:30:00 EST",
    ]);
  });

  test("that nobody knows is UTC, and says so", () => {
    const unknown = new Zone("Europe/Atlantis");
    expect([unknown.name, unknown.when(0)]).toEqual(["UTC", "1970-01-01 00:00:00"]);
    expect(new Zone("").when(0)).toBe("1970-01-01 00:00:00");
  });

  test("stands on the axis and in the words of a chart", async () => {
    const model = new Model();
    const view = new LiveChart(model);
    const message = { t: "show", seq: 1, title: "n", came: 2, x: "at", y: "n", by: "", time: true, note: "" };
    const ends = [Date.UTC(2013, 0, 1, 10), Date.UTC(2013, 0, 1, 15)];
    await model.say({ ...message, zone: "America/New_York", series: [{ name: "n", n: 2 }] }, [...ends, 1, 2]);
    const texts = [...view.node().querySelectorAll("text")].map((text) => text.textContent);
    expect(texts).toContain("01-01 05:00");
    expect(texts).not.toContain("01-01 15:00");
    expect(texts).toContain("at (America/New_York)");
    expect(view.node().querySelector("svg[role]")?.getAttribute("aria-label")).toContain("n over at (America/New_York):");
    view.node().dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
    expect(view.node().querySelector(".read")?.textContent).toBe("2013-01-01 10:00:00 EST: n 2");
  });
});

test("the nearest point and the reach of values", () => {
  expect([0, 4, 6, 99].map((x) => nearest(new Float64Array([0, 5, 10]), x))).toEqual([0, 1, 1, 2]);
  expect(reach(new Float64Array(), 0)).toEqual([0, 1]);
  expect(reach(new Float64Array([3, 3]), 0)[0]).toBeLessThan(3);
  expect([...doubles(undefined)]).toEqual([]);
});
