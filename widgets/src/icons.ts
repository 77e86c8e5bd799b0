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
  event_time: "time",
};

export function icon(kind: string): SVGSVGElement {
  const drawing = DRAWINGS[KINDS[kind] ?? kind] ?? DRAWINGS["stage"] ?? "";
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: drawing }));
}
