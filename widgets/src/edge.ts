/** A stream between two stages, and the queue that it fills before its receiver. */

import { Attribute, svg, Text } from "./dom";
import { count, percent } from "./format";
import type { Table } from "./frame";
import type { Point } from "./layout";
import { type EdgeInfo, isSide } from "./model";

const QUEUE = { width: 30, height: 8 };
const NARROW = 16;

export class Edge {
  #names: string;
  #wire = svg("path", { class: "wire" });
  #hit = svg("path", { class: "hit" });
  #tube = svg("rect", { class: "tube", width: QUEUE.width, height: QUEUE.height, rx: 2 });
  #rows = svg("rect", { class: "rows", height: QUEUE.height - 2, rx: 1 });
  #share = svg("text", { class: "share", "text-anchor": "end" });
  #el: SVGGElement;
  #text = new Text();
  #width = new Attribute(this.#rows, "width");
  #x = new Attribute(this.#rows, "x");
  #level: Attribute;
  #label: Attribute;
  #right = 0;
  #said = "";

  constructor(info: EdgeInfo, from: string, to: string) {
    const side = isSide(info);
    this.#names = `queue from ${from}${side ? `, ${info.tag} rows,` : ""} to ${to}`;
    this.#el = svg("g", { class: side ? "edge side" : "edge", role: "button", tabindex: -1, "aria-label": this.#names });
    this.#level = new Attribute(this.#el, "data-level");
    this.#label = new Attribute(this.#el, "aria-label");
    if (side) this.#share.append(svg("tspan", { class: "tag" }, `${info.tag} `));
    this.#share.append(svg("tspan", { class: "percent" }, this.#text.at));
    this.#el.append(this.#hit, this.#wire, this.#tube, this.#rows, this.#share);
  }

  node(): SVGGElement {
    return this.#el;
  }

  /** `dense`: the ends of several edges stand so close that there is no room for numbers. */
  route(points: Point[], dense: boolean): void {
    const [first, last] = [points[0], points[points.length - 1]];
    if (!first || !last) return;
    const end = { x: last.x - 3 - QUEUE.width, y: last.y };
    const d = curve([...points.slice(0, -1), end]);
    this.#wire.setAttribute("d", d);
    this.#hit.setAttribute("d", `${d}H${last.x}`);
    this.#right = last.x - 4;
    const place = { x: end.x, y: end.y - QUEUE.height / 2 };
    for (const [name, value] of Object.entries(place)) this.#tube.setAttribute(name, String(value));
    this.#rows.setAttribute("y", String(place.y + 1));
    this.#share.setAttribute("x", String(last.x - 4));
    this.#share.setAttribute("y", String(place.y - 3));
    this.#el.classList.toggle("dense", dense);
  }

  paint(table: Table, row: number, culprit: boolean): void {
    const fill = table.get(row, "fill");
    const known = Number.isFinite(fill) ? Math.min(1, Math.max(0, fill)) : 0;
    const width = Math.round((QUEUE.width - 2) * known * 10) / 10;
    this.#width.set(String(width));
    this.#x.set(String(this.#right - width));
    this.#text.set(Math.round(known * 100) > 0 ? percent(known) : "");
    this.#level.set(known >= 0.5 && culprit ? "cause" : known > 0 ? "some" : "none");
    const [capacity, refused] = [table.get(row, "capacity"), table.get(row, "refused")];
    this.#said = `${this.#names}, ${percent(fill)} full`;
    if (capacity > 0) this.#said += ` of ${count(capacity)} rows`;
    if (refused > 0) this.#said += `, ${count(refused)} refused`;
  }

  describe(): void {
    if (this.#said) this.#label.set(this.#said);
  }
}

/** Whether ends at these heights are too near to each other for numbers. */
export function tooDense(heights: number[]): boolean {
  const sorted = [...heights].sort((a, b) => a - b);
  return sorted.some((y, at) => at > 0 && y - (sorted[at - 1] ?? 0) < NARROW);
}

/** Level where it leaves and arrives; straight through the layers that it passes. */
function curve(points: Point[]): string {
  return points
    .map((to, at) => {
      const from = points[at - 1];
      if (!from) return `M${to.x} ${to.y}`;
      if (from.y === to.y) return `H${to.x}`;
      const middle = (from.x + to.x) / 2;
      return `C${middle} ${from.y} ${middle} ${to.y} ${to.x} ${to.y}`;
    })
    .join("");
}
