/** Under the picture: what the colours mean, and how large it is. */

import { el } from "./dom";

const KEYS: [string, string][] = [
  ["busy", "busy"],
  ["waits", "backpressured"],
  ["idle", "idle"],
  ["queue", "queue, fills from its receiver"],
];
const ZOOMS: [string, string, number | null][] = [
  ["−", "smaller", 0.8],
  ["fit", "fit the width", null],
  ["+", "larger", 1.25],
];

export function legend(zoom: (factor: number | null) => void): HTMLElement {
  const keys = KEYS.map(([name, word]) => el("span", { class: "key" }, el("i", { class: name }), word));
  const zooms = ZOOMS.map(([glyph, title, factor]) => {
    const made = el("button", { type: "button", title, "aria-label": title }, glyph);
    made.addEventListener("click", () => zoom(factor));
    return made;
  });
  return el("div", { class: "legend" }, ...keys, el("span", { class: "gap" }), el("div", { class: "zooms" }, ...zooms));
}
