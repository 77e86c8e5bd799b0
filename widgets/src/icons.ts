/** What kind of stage it is, as a line drawing of sixteen by sixteen. */

import { svg } from "./dom";

const DRAWINGS: Record<string, string> = {
  source: "M2.5 4.5h6v7h-6zM8.5 8h5m-2-2 2 2-2 2",
  sink: "M2.5 8h5m-2-2 2 2-2 2M7.5 3.5h6v9h-6z",
  filter: "M2.5 3.5h11l-4.2 5v4.5l-2.6-1.5V8.5z",
  columns: "M2.5 3.5h11v9h-11zM6.2 3.5v9M9.8 3.5v9",
  function: "M5 5h6v6H5zM6.5 5V2.5M9.5 5V2.5M6.5 13.5V11M9.5 13.5V11M5 6.5H2.5M5 9.5H2.5M13.5 6.5H11M13.5 9.5H11",
  window: "M2.5 3v10M13.5 3v10M2.5 8h11M5 5.5v5M8 5.5v5M11 5.5v5",
  merge: "M2.5 4h3l3 4h5M2.5 12h3l3-4m3-2 2 2-2 2",
  key: "M8.5 8h5.5v2.5M11.5 8v2M8.5 8a2.75 2.75 0 1 1-5.5 0a2.75 2.75 0 1 1 5.5 0z",
  time: "M13.5 8a5.5 5.5 0 1 1-11 0a5.5 5.5 0 1 1 11 0zM8 5v3l2 1.5",
  stage: "M3 4.5h10v7H3z",
};

const KINDS: Record<string, string> = {
  read: "source",
  write: "sink",
  select: "columns",
  with_columns: "columns",
  drop: "columns",
  rename: "columns",
  cast: "columns",
  explode: "columns",
  unnest: "columns",
  columns: "columns",
  udf: "function",
  wasm: "function",
  map_batches: "function",
  union: "merge",
  join: "merge",
  key_by: "key",
  agg: "window",
  aggregate: "window",
  event_time: "time",
};

export function icon(kind: string): SVGSVGElement {
  const drawing = DRAWINGS[KINDS[kind] ?? kind] ?? DRAWINGS["stage"] ?? "";
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: drawing }));
}

const GLYPHS: Record<string, string> = {
  pause: "M2.5 1.5h2.6v9H2.5zM6.9 1.5h2.6v9H6.9z",
  play: "M3 1.5 10.5 6 3 10.5z",
  step: "M1.5 1.5h2v9h-2zM5 1.5 11 6l-6 4.5z",
  drain: "M5 1h2v4.5h2.5L6 8.8 2.5 5.5H5zM2 9.7h8V11H2z",
  stop: "M2 2h8v8H2z",
  flag: "M2.5 1h1.2v10H2.5zM4.2 1.5h5.8L8.5 4l1.5 2.5H4.2z",
  dot: "M6 2a4 4 0 1 0 0 8a4 4 0 1 0 0-8z",
  check: "M4.7 10 .9 6.2l1.3-1.3 2.5 2.5 5.1-5.1 1.3 1.3z",
  cross: "M2.7 1.4 6 4.7l3.3-3.3 1.3 1.3L7.3 6l3.3 3.3-1.3 1.3L6 7.3l-3.3 3.3-1.3-1.3L4.7 6 1.4 2.7z",
  gone: "M6 1a5 5 0 1 0 0 10a5 5 0 1 0 0-10zM6 2.5c.7 0 1.4.2 1.9.6L3.1 7.9A3.5 3.5 0 0 1 6 2.5zM6 9.5c-.7 0-1.4-.2-1.9-.6l4.8-4.8A3.5 3.5 0 0 1 6 9.5z",
};

/** A sign for a button or a status, twelve by twelve. */
export function glyph(name: string): SVGSVGElement {
  const drawing = svg("path", { d: GLYPHS[name] ?? "", "fill-rule": "evenodd" });
  return svg("svg", { class: "glyph", viewBox: "0 0 12 12", "aria-hidden": "true" }, drawing);
}
