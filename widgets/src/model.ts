/** The words that the kernel and the page say to each other. */

/** What the page needs of an anywidget model. */
export interface Model {
  get(name: string): unknown;
  on(event: string, callback: (...args: never[]) => void): void;
  off(event: string, callback: (...args: never[]) => void): void;
  send(content: unknown): void;
}

export interface NodeInfo {
  id: string;
  kind: string;
  label: string;
  does: string[];
  stateful: boolean;
  sides: string[];
  sink: boolean;
}

export interface EdgeInfo {
  from: number;
  to: number;
  port: number;
  tag: string;
}

export interface Graph {
  name: string;
  nodes: NodeInfo[];
  edges: EdgeInfo[];
}

export interface Fields {
  node: string[];
  edge: string[];
}

export type Status =
  | "running"
  | "paused"
  | "draining"
  | "finished"
  | "failed"
  | "stopped"
  // Of a job on a cluster:
  | "starting"
  | "restarting"
  | "stopping"
  | "disconnected"
  | "detached";
export type Action = "pause" | "resume" | "step" | "drain" | "stop" | "checkpoint" | "savepoint" | "cancel";

export interface Verdict {
  node: number | null;
  words: string;
}

/** What is not there is not known of such a job. */
export interface Totals {
  rows_in: number;
  rows_out: number;
  rows_per_s: number;
  late: number;
  invalid: number;
  progress: number | null;
  memory?: number;
  instances?: number;
  checkpoints?: number;
  failed_checkpoints?: number;
  restarts?: number;
}

export interface LogLine {
  n: number;
  at: number;
  level: "info" | "warning" | "error";
  text: string;
}

export interface Column {
  name: string;
  dtype: string;
  summary: string;
}

/** What stands beside the numbers of a frame. */
export interface FrameMessage {
  t: "frame";
  seq: number;
  elapsed: number;
  verdict: Verdict;
  totals: Totals;
  log?: LogLine[];
}

export interface HistoryMessage {
  t: "history";
  elapsed: number[];
}

/** A command has been heard; what it asks for may take longer. */
export interface DoingMessage {
  t: "doing";
  do: string;
}

export interface DoneMessage {
  t: "done";
  do: string;
  error: string | null;
  did?: string;
}

export interface RowsMessage {
  t: "rows";
  id: number;
  title: string;
  columns: Column[];
  rows: (string | null)[][];
  of: number;
  note: string;
}

export interface WindowsMessage {
  t: "windows";
  id: number;
  title: string;
  watermark: string | null;
  columns: Column[];
  rows: (string | null)[][];
  waits: string[];
  of: number;
  note?: string;
}

export type FromKernel = FrameMessage | HistoryMessage | DoingMessage | DoneMessage | RowsMessage | WindowsMessage;

/** What a reload shows of a job that has ended. */
export interface Last {
  node?: (number | null)[][];
  edge?: (number | null)[][];
  verdict?: Verdict;
  totals?: Totals;
  elapsed?: number;
  log?: LogLine[];
}

export function graphOf(model: Model): Graph {
  const { name = "", nodes = [], edges = [] } = (model.get("graph") ?? {}) as Partial<Graph>;
  return { name, nodes, edges };
}

export function fieldsOf(model: Model): Fields {
  const { node = [], edge = [] } = (model.get("fields") ?? {}) as Partial<Fields>;
  return { node, edge };
}

export function statusOf(model: Model): Status {
  return (model.get("status") ?? "running") as Status;
}

/** Whether it carries what a stage puts aside, like late rows. */
export function isSide({ tag }: EdgeInfo): boolean {
  return tag !== "" && tag !== "main";
}

/** Whether frames are to be expected. */
export function isLive(status: Status): boolean {
  return ["running", "draining", "starting", "restarting", "stopping", "disconnected"].includes(status);
}

export function assert(truth: unknown, why: string): asserts truth {
  if (!truth) throw new Error(`dataflare: ${why}`);
}
