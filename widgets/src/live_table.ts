/** The newest rows of a stage: cells that did not change are left alone. */

import { el } from "./dom";
import { type Channel, Live, type Shown } from "./live";

interface Rows extends Shown {
  columns: { name: string; dtype: string }[];
  rows: (string | null)[][];
  note: string;
}

const NUMBER = /^(U?Int|Float|Decimal)/;

export class LiveTable extends Live<Rows> {
  #head = el("tr");
  #rows = el("tbody");
  #note = el("p", { class: "read dim" });
  #names = "";

  constructor(model: Channel) {
    super(model, "table");
    this.body.append(el("table", {}, el("thead", {}, this.#head), this.#rows), this.#note);
  }

  protected override paint({ columns, rows, note }: Rows): void {
    this.#note.textContent = note;
    this.#note.hidden = !note;
    const names = JSON.stringify(columns);
    if (names !== this.#names) {
      this.#names = names;
      this.#head.replaceChildren(
        ...columns.map(({ name, dtype }) =>
          el("th", { scope: "col", class: kind(dtype) }, el("span", {}, name), el("small", {}, dtype)),
        ),
      );
      this.#rows.replaceChildren();
    }
    while (this.#rows.children.length > rows.length) this.#rows.lastElementChild?.remove();
    rows.forEach((row, at) => {
      const line = this.#rows.children[at] ?? this.#rows.appendChild(el("tr"));
      row.forEach((value, place) => {
        const cell = line.children[place] ?? line.appendChild(el("td"));
        const text = value ?? "null";
        if (cell.textContent !== text) cell.textContent = text;
        const look = `${kind(columns[place]?.dtype ?? "")} ${value === null ? "null" : ""}`.trim();
        if (cell.className !== look) cell.className = look;
      });
    });
  }
}

function kind(dtype: string): string {
  return NUMBER.test(dtype) ? "number" : "";
}

function render({ model, el: place }: { model: Channel; el: HTMLElement }): () => void {
  const view = new LiveTable(model);
  place.append(view.node());
  return () => view.close();
}

export default { render };
