/** Rows as a table: names, types and summaries above, nulls told apart from text. */

import { el } from "./dom";
import type { Column } from "./model";

export function table(columns: Column[], rows: (string | null)[][], caption: string): HTMLTableElement {
  const head = el("tr");
  for (const { name, dtype, summary } of columns) {
    const cell = el("th", { scope: "col" }, el("b", {}, name), el("small", {}, dtype));
    if (summary) cell.append(el("small", { class: "summary" }, summary));
    if (isNumber(dtype)) cell.className = "number";
    head.append(cell);
  }
  const body = el("tbody");
  for (const row of rows) {
    const line = el("tr");
    columns.forEach(({ dtype }, at) => {
      const value = row[at] ?? null;
      const cell = el("td", {}, value ?? "null");
      cell.className = [isNumber(dtype) ? "number" : "", value === null ? "null" : ""].join(" ").trim();
      line.append(cell);
    });
    body.append(line);
  }
  return el("table", {}, el("caption", {}, caption), el("thead", {}, head), body);
}

function isNumber(dtype: string): boolean {
  return /^(U?Int|Float|Decimal|[uif]\d)/.test(dtype);
}
