/** The picture of a job: stages in layers, queues between them, walked with the arrow keys. */

import { Card } from "./card";
import { el, svg } from "./dom";
import { Edge, tooDense } from "./edge";
import type { Frame } from "./frame";
import type { History } from "./history";
import { isShortcut } from "./keys";
import { type Layout, layOut, type Order, order, type Size } from "./layout";
import type { Graph } from "./model";
import { step, type Item } from "./walk";

const WHOLE: Size = { width: 188, height: 172, gap: 60, row: 26 };
const SMALL: Size = { width: 146, height: 92, gap: 48, row: 20 };
const MARGIN = 16;
/** Below this the whole cards are too small to read, and small ones take their place. */
const READABLE = 0.72;
const TINY = 0.6;
const LEAST = 0.5;
const WIDEST_GAP = 110;
/** As in the container query of the style sheet. */
export const NARROW = 480;

export class GraphView {
  #graph: Graph;
  #open: (item: Item) => void;
  #wires = svg("svg", { class: "wires", "aria-label": "queues" });
  #plane = el("div", { class: "plane" });
  #el = el("div", { class: "graph", role: "group", "aria-label": "stages" }, this.#plane);
  #cards: Card[];
  #edges: Edge[];
  #order: Order;
  #layout: Layout;
  #here: Item = { node: 0 };
  #room = 0;
  #scale = 1;
  #chosen: number | null = null;

  constructor(graph: Graph, open: (item: Item) => void, columns: string[] = []) {
    this.#graph = graph;
    this.#open = open;
    this.#cards = graph.nodes.map((info) => new Card(info, columns));
    const label = (at: number) => graph.nodes[at]?.label ?? "";
    this.#edges = graph.edges.map((info) => new Edge(info, label(info.from), label(info.to)));
    this.#order = order(graph.nodes.length, graph.edges);
    this.#layout = layOut(graph.nodes.length, graph.edges, WHOLE, this.#order);
    this.#wires.append(...this.#edges.map((edge) => edge.node()));
    this.#plane.append(this.#wires, ...this.#reading().map((at) => (this.#cards[at] as Card).node()));
    this.#cards.forEach((card, node) => {
      card.node().dataset["node"] = String(node);
      this.#listen(card.node(), { node });
    });
    this.#edges.forEach((edge, at) => {
      edge.node().dataset["edge"] = String(at);
      this.#listen(edge.node(), { edge: at });
    });
    this.#cards[this.#reading()[0] ?? 0]?.node().setAttribute("tabindex", "0");
    this.#here = { node: this.#reading()[0] ?? 0 };
    this.#place(WHOLE);
  }

  node(): HTMLElement {
    return this.#el;
  }

  paint(frame: Frame, culprit: number | null): void {
    this.#cards.forEach((card, at) => card.paint(frame.nodes, at, at === culprit));
    this.#edges.forEach((edge, at) => edge.paint(frame.edges, at, this.#graph.edges[at]?.to === culprit));
    if (this.#isNarrow()) this.#feed(frame);
  }

  trace(history: History): void {
    if (history.held > 1) this.#cards.forEach((card, at) => card.trace(history.of(at), history.points));
  }

  describe(): void {
    for (const each of [...this.#cards, ...this.#edges]) each.describe();
  }

  /** Use so many pixels: whole cards if they can be read, small ones if not, and what does not fit scrolls. */
  fit(room: number): void {
    this.#room = room;
    const { nodes, edges } = this.#graph;
    const narrow = this.#isNarrow();
    const inside = room - 2 * MARGIN;
    const whole = layOut(nodes.length, edges, WHOLE, this.#order);
    const small = !narrow && inside / Math.max(1, whole.width) < READABLE;
    const size = small ? SMALL : WHOLE;
    const layers = new Set(whole.boxes.map((box) => box.layer)).size;
    // A short chain uses the room it has.
    const gap = layers > 1 ? (inside - layers * size.width) / (layers - 1) : size.gap;
    const wide = { ...size, gap: Math.max(size.gap, Math.min(WIDEST_GAP, Math.floor(gap))) };
    this.#layout = layOut(nodes.length, edges, wide, this.#order);
    this.#scale = this.#chosen ?? Math.max(LEAST, Math.min(1, room / (this.#layout.width + 2 * MARGIN)));
    for (const [name, is] of Object.entries({
      list: narrow,
      small,
      distant: small && this.#scale < READABLE + 0.1,
      tiny: small && this.#scale < TINY,
    })) this.#el.classList.toggle(name, is);
    this.#place(wide);
  }

  /** Make it larger or smaller by a factor; null fits it again. */
  zoom(factor: number | null): void {
    this.#chosen = factor === null ? null : Math.max(0.3, Math.min(1.5, this.#scale * factor));
    this.fit(this.#room);
  }

  mark(item: Item | null): void {
    for (const each of this.#el.querySelectorAll(".open")) each.classList.remove("open");
    if (item) this.#element(item)?.classList.add("open");
  }

  focus(item: Item): void {
    const [from, to] = [this.#element(this.#here), this.#element(item)];
    from?.setAttribute("tabindex", "-1");
    to?.setAttribute("tabindex", "0");
    to?.focus();
    this.#here = item;
  }

  #isNarrow(): boolean {
    return this.#room > 0 && this.#room < NARROW;
  }

  /** Stages in the order of the stream, layer by layer. */
  #reading(): number[] {
    const { boxes } = this.#layout;
    return [...boxes.keys()].sort((a, b) => {
      const [one, two] = [boxes[a], boxes[b]];
      return one && two ? one.layer - two.layer || one.order - two.order : 0;
    });
  }

  #element(item: Item): HTMLElement | SVGElement | undefined {
    return "node" in item ? this.#cards[item.node]?.node() : this.#edges[item.edge]?.node();
  }

  #listen(element: HTMLElement | SVGElement, item: Item): void {
    element.addEventListener("click", () => {
      this.focus(item);
      this.#open(item);
    });
    element.addEventListener("keydown", (event) => {
      if (isShortcut(event as KeyboardEvent)) return;
      const key = (event as KeyboardEvent).key;
      if (key === "Enter" || key === " ") this.#open(item);
      else {
        const list = this.#isNarrow() ? this.#reading() : null;
        const next = step(item, key, this.#graph.edges, this.#layout.boxes, list);
        if (!next) return;
        this.focus(next);
      }
      event.preventDefault();
      event.stopPropagation();
    });
  }

  #place(size: Size): void {
    const { width, height, boxes, routes } = this.#layout;
    boxes.forEach((box, at) => {
      const style = (this.#cards[at] as Card).node().style;
      style.setProperty("--x", `${box.x + MARGIN}px`);
      style.setProperty("--y", `${box.y + MARGIN}px`);
    });
    const ends = new Map<number, number[]>();
    this.#graph.edges.forEach(({ to }, at) => {
      const y = routes[at]?.at(-1)?.y ?? 0;
      ends.set(to, [...(ends.get(to) ?? []), y]);
    });
    this.#edges.forEach((edge, at) => {
      const points = (routes[at] ?? []).map(({ x, y }) => ({ x: x + MARGIN, y: y + MARGIN }));
      edge.route(points, tooDense(ends.get(this.#graph.edges[at]?.to ?? -1) ?? []));
    });
    const style = this.#plane.style;
    style.setProperty("--w", `${width + 2 * MARGIN}px`);
    style.setProperty("--h", `${height + 2 * MARGIN}px`);
    style.setProperty("--card-w", `${size.width}px`);
    style.setProperty("--card-h", `${size.height}px`);
    style.setProperty("--scale", String(this.#scale));
  }

  #feed(frame: Frame): void {
    this.#cards.forEach((card, node) => {
      let [sender, most]: [string | null, number] = [null, -1];
      this.#graph.edges.forEach(({ from, to }, at) => {
        const fill = frame.edges.get(at, "fill");
        if (to === node && fill > most) [sender, most] = [this.#graph.nodes[from]?.label ?? "", fill];
      });
      card.feed(sender, most);
    });
  }
}
