/** A stage: what it is, how fast it is, and what it does with its time. */

import { Attribute, el, Text } from "./dom";
import { Facts, known, ON_CARD } from "./facts";
import { count, percent, shares, short, span } from "./format";
import type { Table } from "./frame";
import { icon } from "./icons";
import type { NodeInfo } from "./model";
import { Spark } from "./spark";

export type State = "bottleneck" | "backpressured" | "busy" | "idle" | "";

const GLYPHS: Record<State, string> = { bottleneck: "▲", backpressured: "▨", busy: "■", idle: "□", "": "" };

export class Card {
  #el = el("div", { class: "card", role: "button", tabindex: -1 });
  #info: NodeInfo;
  #state = new Attribute(this.#el, "data-state");
  #label = new Attribute(this.#el, "aria-label");
  #word = new Text();
  #rate = new Text();
  #parts = [new Text(), new Text(), new Text()];
  #queue = new Text();
  #facts: Facts;
  #busy: Attribute;
  #waits: Attribute;
  #spark = new Spark();
  #said = "";

  constructor(info: NodeInfo, columns: string[] = []) {
    this.#info = info;
    this.#facts = new Facts(known(ON_CARD, columns));
    const busy = el("i", { class: "busy" });
    const waits = el("i", { class: "waits" });
    this.#busy = new Attribute(busy, "style");
    this.#waits = new Attribute(waits, "style");
    const steps = info.does.length > 1 ? `${info.does.length} steps` : info.kind.replace("_", " ");
    const [a, b, c] = this.#parts as [Text, Text, Text];
    this.#el.append(
      el("div", { class: "head" }, icon(info.kind), el("b", { class: "name", title: info.label }, info.label)),
      el(
        "div",
        { class: "sub" },
        el("span", { class: "kind", title: info.does.join("\n") }, steps),
        el("span", { class: "state" }, this.#word.at),
      ),
      el("div", { class: "rate" }, el("b", {}, this.#rate.at), el("small", {}, "rows/s"), this.#spark.node()),
      el("div", { class: "bar" }, busy, waits),
      el(
        "div",
        { class: "parts" },
        el("span", { class: "p-busy", title: "busy" }, a.at),
        el("span", { class: "p-waits", title: "backpressured" }, b.at),
        el("span", { class: "p-idle", title: "idle" }, c.at),
      ),
      el("div", { class: "from" }, this.#queue.at),
      this.#facts.node(),
    );
    this.#el.setAttribute("aria-label", info.label);
  }

  node(): HTMLElement {
    return this.#el;
  }

  paint(table: Table, row: number, culprit: boolean): void {
    const value = (name: string) => table.get(row, name);
    const [busy, waits, idle] = [value("busy"), value("backpressured"), value("idle")];
    const parts = shares([busy, waits, idle]);
    const state = stateOf(busy, waits, idle, culprit);
    this.#state.set(state);
    this.#word.set(state && `${GLYPHS[state]} ${state}`);
    this.#rate.set(count(value("rows_per_s")));
    this.#busy.set(clip(0, busy));
    this.#waits.set(clip(busy, waits));
    ["■", "▨", "□"].forEach((glyph, at) => this.#parts[at]?.set(`${glyph} ${percent((parts[at] ?? NaN) / 100)}`));
    this.#facts.paint(value);
    this.#said = said(this.#info, value, parts, state);
  }

  /** Which queue before it is fullest, for when there is no room to draw them. */
  feed(sender: string | null, fill: number): void {
    this.#queue.set(sender === null ? "" : `queue from ${sender} ${percent(fill)} full`);
  }

  trace(values: number[], capacity: number): void {
    this.#spark.paint(values, capacity);
  }

  /** Tell screen readers the numbers; seldom, since they read what changes under them. */
  describe(): void {
    if (this.#said) this.#label.set(this.#said);
  }
}

export function stateOf(busy: number, waits: number, idle: number, culprit: boolean): State {
  if (culprit) return "bottleneck";
  const most = Math.max(busy, waits, idle);
  if (!(most > 0)) return "";
  return most === waits ? "backpressured" : most === busy ? "busy" : "idle";
}

function clip(from: number, share: number): string {
  const left = Number.isFinite(from) ? from * 100 : 0;
  const right = 100 - left - (Number.isFinite(share) ? share * 100 : 0);
  return `clip-path:inset(0 ${Math.max(0, right).toFixed(1)}% 0 ${Math.min(100, left).toFixed(1)}%)`;
}

function said(info: NodeInfo, value: (name: string) => number, parts: number[], state: State): string {
  const words = [
    state === "bottleneck" ? `${info.label}, the bottleneck` : info.label,
    `${short(value("rows_per_s"))} rows a second`,
    ...["busy", "backpressured", "idle"].map((name, at) => `${name} ${percent((parts[at] ?? NaN) / 100)}`),
  ];
  if (value("lag_ms") > 0) words.push(`lag ${span(value("lag_ms"))}`);
  for (const name of ["late", "invalid", "errors"]) if (value(name) > 0) words.push(`${name} ${short(value(name))}`);
  return words.join(", ");
}
