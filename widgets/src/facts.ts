/** Numbers with their names under the picture of a stage or queue. */

import { el, Text } from "./dom";
import { count, percent, short, span } from "./format";

export interface Fact {
  name: string;
  title: string;
  /** The column of a frame. */
  from: string;
  as: (value: number) => string;
  /** Something to look at when it is not nothing. */
  alarm?: boolean;
}

export const ON_CARD: Fact[] = [
  { name: "batch", title: "rows of a batch", from: "batch_rows", as: short },
  { name: "p50", title: "time of half of the batches", from: "p50_ms", as: span },
  { name: "p99", title: "time of 99 of 100 batches", from: "p99_ms", as: span },
  { name: "lag", title: "how far the watermark is behind", from: "lag_ms", as: span },
  { name: "late", title: "rows that came too late", from: "late", as: short, alarm: true },
  { name: "invalid", title: "rows that could not be read", from: "invalid", as: short, alarm: true },
  { name: "held", title: "rows kept in state", from: "held", as: short },
  { name: "errors", title: "errors", from: "errors", as: short, alarm: true },
  { name: "instances", title: "instances that run it", from: "instances", as: short },
];

export const OF_NODE: Fact[] = [
  { name: "rows in", title: "rows that came in", from: "rows_in", as: count },
  { name: "rows out", title: "rows that went out", from: "rows_out", as: count },
  { name: "in flight", title: "batches or rows in work", from: "in_flight", as: count },
  ...ON_CARD,
];

export const OF_EDGE: Fact[] = [
  { name: "full", title: "how full the queue is", from: "fill", as: percent },
  { name: "room for", title: "rows that the queue takes", from: "capacity", as: count },
  { name: "waiting", title: "rows that wait in the queue", from: "rows", as: count },
  { name: "refused", title: "offers refused since the queue was full", from: "refused", as: count },
];

/** Those of which a frame has the column: not all is known of every job. */
export function known(facts: Fact[], columns: string[]): Fact[] {
  return columns.length ? facts.filter((fact) => columns.includes(fact.from)) : facts;
}

export class Facts {
  #el = el("dl", { class: "facts" });
  #cells: { fact: Fact; text: Text; cell: HTMLElement }[];

  constructor(facts: Fact[]) {
    this.#cells = facts.map((fact) => {
      const text = new Text();
      const cell = el("div", { title: fact.title }, el("dt", {}, fact.name), el("dd", {}, text.at));
      this.#el.append(cell);
      return { fact, text, cell };
    });
  }

  node(): HTMLElement {
    return this.#el;
  }

  paint(value: (name: string) => number): void {
    for (const { fact, text, cell } of this.#cells) {
      const now = value(fact.from);
      if (!text.set(fact.as(now))) continue;
      cell.className = !Number.isFinite(now) ? "none" : fact.alarm ? (now > 0 ? "alarm" : "none") : "";
    }
  }
}
