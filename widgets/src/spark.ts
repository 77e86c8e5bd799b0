/** A rate over the last minute as a small line, with a dot where it is now. */

import { Attribute, svg } from "./dom";

const WIDTH = 80;
const HEIGHT = 24;
const LEAST = 16;

export class Spark {
  #el = svg("svg", { class: "spark", viewBox: `0 -2 ${WIDTH + 3} ${HEIGHT + 4}`, "aria-hidden": "true" });
  #line: Attribute;
  #area: Attribute;
  #dot: Attribute;

  constructor() {
    const [area, line, dot] = [svg("path", { class: "area" }), svg("path", { class: "line" }), svg("circle", { r: 1.8, cx: WIDTH })];
    this.#area = new Attribute(area, "d");
    this.#line = new Attribute(line, "d");
    this.#dot = new Attribute(dot, "cy");
    this.#el.append(area, line, dot);
  }

  node(): SVGSVGElement {
    return this.#el;
  }

  paint(values: number[], capacity: number): void {
    const line = path(values, capacity);
    this.#line.set(line.d);
    this.#area.set(line.d && `${line.d}V${HEIGHT}H${line.from}Z`);
    this.#dot.set(String(line.last));
  }
}

/** The newest value stands at the right edge; a short history uses the whole width all the same. */
export function path(values: number[], capacity: number): { d: string; from: number; last: number } {
  if (values.length === 0) return { d: "", from: WIDTH, last: HEIGHT };
  const most = Math.max(...values) || 1;
  const across = WIDTH / (Math.min(capacity, Math.max(values.length, LEAST)) - 1);
  const x = (at: number) => Math.round((WIDTH - (values.length - 1 - at) * across) * 10) / 10;
  const y = (value: number) => Math.round((HEIGHT - (value / most) * HEIGHT) * 10) / 10;
  const d = values.map((value, at) => `${at ? "L" : "M"}${x(at)} ${y(value)}`).join("");
  return { d, from: x(0), last: y(values[values.length - 1] ?? 0) };
}
