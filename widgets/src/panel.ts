/** What passes through a stage or queue: its numbers, sample rows, and the open windows of a stage with state. */

import { el } from "./dom";
import { Facts, known, OF_EDGE, OF_NODE } from "./facts";
import { count } from "./format";
import type { Frame } from "./frame";
import type { Fields, Graph, RowsMessage, WindowsMessage } from "./model";
import { table } from "./table";
import type { Item } from "./walk";

type Tab = "rows" | "windows";
const TITLES: Record<Tab, string> = { rows: "Sample rows", windows: "Open windows" };
const BUSY_AFTER = 1_000;

export interface PanelDoors {
  send(message: unknown): void;
  closed(item: Item): void;
  fields?: Fields;
}

export class Panel {
  #doors: PanelDoors;
  #el = el("section", { class: "panel", "aria-label": "details" });
  #body = el("div", { class: "body", tabindex: 0 });
  #note = el("p", { class: "note", role: "status" });
  #item: Item | null = null;
  #facts: Facts | null = null;
  #tab: Tab = "rows";
  #id = 0;
  #late: ReturnType<typeof setTimeout> | undefined;

  constructor(doors: PanelDoors) {
    this.#doors = doors;
    this.#el.hidden = true;
  }

  node(): HTMLElement {
    return this.#el;
  }

  get item(): Item | null {
    return this.#item;
  }

  open(item: Item, graph: Graph): void {
    this.#item = item;
    const info = "node" in item ? graph.nodes[item.node] : undefined;
    const edge = "edge" in item ? graph.edges[item.edge] : undefined;
    const label = (at: number | undefined) => graph.nodes[at ?? -1]?.label ?? "";
    const title = info ? info.label : `${label(edge?.from)} → ${label(edge?.to)}`;
    const { node = [], edge: queue = [] } = this.#doors.fields ?? {};
    this.#facts = new Facts(info ? known(OF_NODE, node) : known(OF_EDGE, queue));
    const bar = el("div", { class: "title" }, el("h4", {}, title), el("span", { class: "gap" }));
    bar.append(this.#button("Refresh", () => this.#ask()), this.#button("Close", () => this.close()));
    this.#el.replaceChildren(bar);
    if (info && info.does.join() !== info.label) {
      this.#el.append(el("ol", { class: "does", "aria-label": "steps" }, ...info.does.map((each) => el("li", {}, each))));
    }
    this.#el.append(this.#facts.node());
    if (info?.stateful) this.#el.append(this.#tabs());
    this.#body.setAttribute("role", info?.stateful ? "tabpanel" : "region");
    this.#el.append(this.#note, this.#body);
    this.#el.setAttribute("aria-label", `details of ${title}`);
    this.#el.hidden = false;
    this.#show("rows");
  }

  close(): void {
    const item = this.#item;
    if (!item) return;
    clearTimeout(this.#late);
    this.#item = this.#facts = null;
    this.#el.hidden = true;
    this.#el.replaceChildren();
    this.#doors.closed(item);
  }

  paint(frame: Frame): void {
    const item = this.#item;
    if (!item) return;
    this.#facts?.paint((name) => ("node" in item ? frame.nodes.get(item.node, name) : frame.edges.get(item.edge, name)));
  }

  /** Show an answer, unless another question was asked since. */
  take(message: RowsMessage | WindowsMessage): void {
    if (message.id !== this.#id || !this.#item) return;
    clearTimeout(this.#late);
    const { columns, rows } = message;
    const waits = { name: "waits for", dtype: "", summary: "" };
    const windows = message.t === "windows";
    const shown = windows ? [waits, ...columns] : columns;
    const lines = windows ? rows.map((row, at) => [message.waits[at] ?? "", ...row]) : rows;
    const what = caption(rows.length, message.of, windows ? "open windows" : "rows");
    // Without columns there is nothing to show but the reason.
    this.#body.replaceChildren(...(columns.length ? [table(shown, lines, what)] : []));
    const mark = windows ? (message.watermark === null ? "no watermark yet" : `watermark ${message.watermark}`) : "";
    this.#say([mark, message.note].filter(Boolean).join("; "));
  }

  dispose(): void {
    clearTimeout(this.#late);
  }

  #tabs(): HTMLElement {
    const tabs = (Object.keys(TITLES) as Tab[]).map((tab) => {
      const made = el("button", { type: "button", role: "tab", "data-tab": tab }, TITLES[tab]);
      made.addEventListener("click", () => this.#show(tab));
      return made;
    });
    const list = el("div", { class: "tabs", role: "tablist" }, ...tabs);
    list.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      event.preventDefault();
      event.stopPropagation();
      this.#show(this.#tab === "rows" ? "windows" : "rows");
      tabs.find((tab) => tab.dataset["tab"] === this.#tab)?.focus();
    });
    return list;
  }

  #show(tab: Tab): void {
    this.#tab = tab;
    for (const each of this.#el.querySelectorAll<HTMLElement>("[role=tab]")) {
      const chosen = each.dataset["tab"] === tab;
      each.setAttribute("aria-selected", String(chosen));
      each.tabIndex = chosen ? 0 : -1;
    }
    this.#body.replaceChildren();
    this.#body.setAttribute("aria-label", TITLES[tab]);
    this.#ask();
  }

  #ask(): void {
    const item = this.#item;
    if (!item) return;
    this.#id++;
    this.#say("");
    clearTimeout(this.#late);
    this.#late = setTimeout(() => this.#say("the kernel is busy: waiting for the cell to end"), BUSY_AFTER);
    this.#doors.send({ t: this.#tab === "windows" ? "windows" : "peek", id: this.#id, ...item });
  }

  #say(text: string): void {
    this.#note.textContent = text;
    this.#note.hidden = text === "";
  }

  #button(word: string, act: () => void): HTMLButtonElement {
    const made = el("button", { type: "button" }, word);
    made.addEventListener("click", act);
    return made;
  }
}

function caption(shown: number, of: number, what: string): string {
  if (of === 0) return `no ${what}`;
  return shown < of ? `${count(shown)} of ${count(of)} ${what}` : `${count(of)} ${what}`;
}
