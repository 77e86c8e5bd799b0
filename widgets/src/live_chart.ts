/** Lines that grow: one path for each, axes with round numbers, and the values under the pointer or the arrow keys. */

import { el, set, svg } from "./dom";
import { type Channel, Live, type Shown } from "./live";
import { label, ticks, timeLabel, timeTicks, Zone } from "./ticks";

interface Lines extends Shown {
  series: { name: string; n: number }[];
  x: string;
  y: string;
  by: string;
  time: boolean;
  zone: string;
  note: string;
}

interface Line {
  name: string;
  x: Float64Array;
  y: Float64Array;
}

// Half of the longest label along x stands right of the last value.
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [760, 280, 64, 36, 10, 38];

export class LiveChart extends Live<Lines> {
  #axes = svg("g", { class: "axes" });
  #paths = svg("g", { class: "lines" });
  #cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  #svg = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  #legend = el("ul", { class: "legend" });
  #read = el("p", { class: "read dim" });
  #lines: Line[] = [];
  #said: Lines | null = null;
  #span: [number, number] = [0, 1];
  #zone = new Zone("");
  #at: number | null = null;

  constructor(model: Channel) {
    super(model, "chart");
    this.#svg.append(this.#axes, this.#paths, this.#cursor);
    this.body.append(this.#svg, this.#legend, this.#read);
    this.#svg.addEventListener("pointermove", (event) => this.#point(event));
    this.#svg.addEventListener("pointerleave", () => this.#look(null));
    this.node().addEventListener("keydown", (event) => this.#key(event));
  }

  protected override paint(said: Lines, numbers: Float64Array): void {
    const all = said.series.reduce((sum, { n }) => sum + n, 0);
    let start = 0;
    this.#lines = said.series.map(({ name, n }) => {
      const line = { name, x: numbers.subarray(start, start + n), y: numbers.subarray(all + start, all + start + n) };
      start += n;
      return line;
    });
    this.#said = said;
    if (said.zone !== this.#zone.name) this.#zone = new Zone(said.zone);
    const [x0, x1] = reach(numbers.subarray(0, all), 0);
    const [y0, y1] = reach(numbers.subarray(all), 0.06);
    this.#span = [x0, x1];
    const px = (x: number) => LEFT + ((x - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT);
    const py = (y: number) => HEIGHT - BOTTOM - ((y - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM);
    this.#draw(said, px, py, [x0, x1, y0, y1]);
    this.#paths.replaceChildren(...this.#lines.map((line, at) => drawn(line, at, px, py)));
    this.#legend.replaceChildren(
      ...(said.by ? this.#lines.map(({ name }, at) => el("li", {}, swatch(at), name)) : []),
    );
    const of = said.by ? ` by ${said.by}` : "";
    set(this.#svg, { "aria-label": `${said.y} over ${this.#along(said)}${of}: ${this.#lines.length} lines, ${said.came} rows` });
    this.#look(this.#at);
  }

  #draw(said: Lines, px: (x: number) => number, py: (y: number) => number, [x0, x1, y0, y1]: number[]): void {
    if (x0 === undefined || x1 === undefined || y0 === undefined || y1 === undefined) return;
    const along = said.time ? timeTicks(x0, x1, 6, this.#zone) : ticks(x0, x1, 8);
    const up = ticks(y0, y1, 5);
    const word = (x: number) => (said.time ? timeLabel(x, along.step, this.#zone) : label(x, along.step));
    this.#axes.replaceChildren(
      ...up.at.flatMap((y) => [
        svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: py(y), y2: py(y) }),
        svg("text", { x: LEFT - 6, y: py(y) + 4, class: "end" }, label(y, up.step)),
      ]),
      ...along.at.map((x) => svg("text", { x: px(x), y: HEIGHT - BOTTOM + 16, class: "middle" }, word(x))),
      svg("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 4, class: "middle name" }, this.#along(said)),
      svg("text", { x: 12, y: HEIGHT / 2, class: "middle name", transform: `rotate(-90 12 ${HEIGHT / 2})` }, said.y),
    );
  }

  #along(said: Lines): string {
    return this.#zone.name ? `${said.x} (${this.#zone.name})` : said.x;
  }

  #point(event: PointerEvent): void {
    const box = this.#svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    this.#look(Math.min(1, Math.max(0, (x - LEFT) / (WIDTH - LEFT - RIGHT))));
  }

  #key(event: KeyboardEvent): void {
    const way = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
    if (way === undefined) return;
    event.preventDefault();
    this.#look(Math.min(1, Math.max(0, (this.#at ?? 1) + way)));
  }

  /** Tell the values at a share of the way along x. */
  #look(share: number | null): void {
    this.#at = share;
    const said = this.#said;
    this.#cursor.setAttribute("visibility", share === null ? "hidden" : "visible");
    if (share === null || !said) {
      this.#read.textContent = said?.note ?? "";
      return;
    }
    const at = LEFT + share * (WIDTH - LEFT - RIGHT);
    set(this.#cursor, { x1: at, x2: at });
    const x = this.#span[0] + share * (this.#span[1] - this.#span[0]);
    const values = this.#lines.map((line) => `${line.name} ${label(line.y[nearest(line.x, x)] ?? NaN, 0)}`);
    this.#read.textContent = `${said.time ? this.#zone.when(x) : label(x, 0)}: ${values.join(", ")}`;
  }
}

function drawn({ x, y, name }: Line, at: number, px: (x: number) => number, py: (y: number) => number): SVGElement {
  const points: string[] = [];
  x.forEach((value, place) => points.push(`${px(value).toFixed(1)} ${py(y[place] ?? NaN).toFixed(1)}`));
  // A line of one point is a dot: round ends make one of nothing.
  const d = points.length === 1 ? `M${points[0]}h0` : `M${points.join("L")}`;
  return svg("path", { d, class: `s${at}${points.length === 1 ? " dot" : ""}` }, svg("title", {}, name));
}

function swatch(at: number): SVGElement {
  return svg("svg", { width: 22, height: 8, "aria-hidden": "true" }, svg("path", { d: "M0 4H22", class: `s${at}` }));
}

/** The least and greatest value, with some room, and never the same. */
export function reach(values: Float64Array, room: number): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return [0, 1];
  if (low === high) return [low - (Math.abs(low) * 0.1 || 1), high + (Math.abs(high) * 0.1 || 1)];
  const more = (high - low) * room;
  return [low - more, high + more];
}

/** The place of the value nearest to `x` among rising ones. */
export function nearest(values: Float64Array, x: number): number {
  let [low, high] = [0, values.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((values[middle] ?? 0) < x) low = middle + 1;
    else high = middle;
  }
  const [before, after] = [values[low - 1], values[low]];
  return before !== undefined && after !== undefined && x - before < after - x ? low - 1 : low;
}

function render({ model, el: place }: { model: Channel; el: HTMLElement }): () => void {
  const view = new LiveChart(model);
  place.append(view.node());
  return () => view.close();
}

export default { render };
