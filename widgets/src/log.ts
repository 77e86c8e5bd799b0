/** The newest lines of the job's log, folded away until someone looks. */

import { el } from "./dom";
import { clock } from "./format";
import type { LogLine } from "./model";

const MOST = 200;
const GLYPHS = { info: "i", warning: "!", error: "×" };

export class Log {
  #lines = el("ol", { class: "lines", tabindex: 0, "aria-label": "log" });
  #title = el("summary", {}, "Log");
  #el = el("details", { class: "log" }, this.#title, this.#lines);
  #newest = -Infinity;
  #counts = { info: 0, warning: 0, error: 0 };

  constructor() {
    this.#el.hidden = true;
  }

  node(): HTMLElement {
    return this.#el;
  }

  /** Add lines that are not there yet; after a reload some come twice. */
  add(lines: LogLine[]): void {
    const fresh = lines.filter((line) => line.n > this.#newest);
    if (fresh.length === 0) return;
    const low = this.#lines.scrollHeight - this.#lines.scrollTop - this.#lines.clientHeight < 30;
    for (const { n, at, level, text } of fresh) {
      this.#newest = n;
      this.#counts[level]++;
      this.#lines.append(
        el(
          "li",
          { class: level },
          el("time", {}, clock(at)),
          el("span", { class: "level" }, el("i", { "aria-hidden": "true" }, GLYPHS[level]), level),
          el("span", { class: "text" }, text),
        ),
      );
    }
    while (this.#lines.childElementCount > MOST) this.#lines.firstElementChild?.remove();
    // Whoever reads further up is left there.
    if (low) this.#lines.scrollTop = this.#lines.scrollHeight;
    this.#el.hidden = false;
    this.#title.textContent = titled(this.#counts);
    this.#el.dataset["worst"] = this.#counts.error ? "error" : this.#counts.warning ? "warning" : "info";
  }
}

function titled({ info, warning, error }: Record<LogLine["level"], number>): string {
  const many = (n: number, word: string) => `${n} ${word}${n === 1 ? "" : "s"}`;
  const parts = ["Log", many(info + warning + error, "line")];
  if (warning) parts.push(many(warning, "warning"));
  if (error) parts.push(many(error, "error"));
  return parts.join(" · ");
}
