/** A kernel in the page: stages with speeds, bounded queues between them, and the messages that a real one sends. */

import { FakeModel } from "./model.js";

export const FIELDS = {
  node: [
    "rows_in", "rows_out", "rows_per_s", "busy", "backpressured", "idle", "batch_rows", "p50_ms", "p99_ms", "lag_ms",
    "late", "invalid", "held", "in_flight", "errors",
  ],
  edge: ["rows", "fill", "capacity", "refused"],
};
const CAPACITY = 8_192;
const TICK = 0.02;

export class FakeKernel {
  elapsed = 0;
  seq = 0;
  constructor(job, can = ["pause", "resume", "step", "drain", "stop"]) {
    this.job = job;
    const nodes = job.nodes.map((each, at) => ({
      id: each.label.replaceAll(" ", "_"), kind: each.kind, label: each.label, does: each.does ?? [each.label],
      stateful: each.stateful ?? false, sides: each.sides ?? [], sink: each.sink ?? false, at,
    }));
    const graph = { name: job.name, nodes, edges: job.edges.map((each) => ({ ...each, port: 0 })) };
    this.model = new FakeModel(
      { graph, fields: FIELDS, status: "running", error: "", can, hz: 10, last: {} },
      (message) => this.hear(message),
    );
    this.queues = job.edges.map(() => ({ rows: 0, held: 0, refused: 0 }));
    this.stages = job.nodes.map(() => ({ in: 0, out: 0, rate: 0, busy: 0, waits: 0, idle: 1, late: 0, invalid: 0, held: 0 }));
    this.lines = [{ n: 0, at: 0, level: "info", text: `${job.nodes.length} stages started` }];
  }

  /** Let time pass for the stages. */
  run(seconds) {
    const { nodes, edges } = this.job;
    for (let left = seconds; left > 1e-9; left -= TICK) {
      this.elapsed += TICK;
      const wobble = 1 + 0.12 * Math.sin(this.elapsed / 1.7) + 0.08 * Math.sin(this.elapsed * 1.3);
      for (let at = nodes.length - 1; at >= 0; at--) {
        const stage = this.stages[at];
        const ins = edges.map((_, i) => i).filter((i) => edges[i].to === at);
        const outs = edges.map((_, i) => i).filter((i) => edges[i].from === at);
        const most = nodes[at].speed * wobble * TICK;
        const offered = ins.length ? ins.reduce((sum, i) => sum + this.queues[i].held, 0) : most;
        const keeps = nodes[at].keeps ?? 1;
        const main = outs.filter((i) => edges[i].tag === "main");
        const room = main.length ? Math.min(...main.map((i) => CAPACITY - this.queues[i].held)) / keeps : Infinity;
        const done = Math.max(0, Math.min(most, offered, room));
        for (const i of ins) this.queues[i].held -= (this.queues[i].held / (offered || 1)) * done;
        for (const i of outs) {
          const rows = edges[i].tag === "main" ? done * keeps : done * 0.002;
          this.queues[i].held = Math.min(CAPACITY, this.queues[i].held + rows);
          this.queues[i].rows += rows;
          if (room < offered) this.queues[i].refused += 1;
        }
        const busy = done / most;
        const waits = room < Math.min(most, offered) ? 1 - busy : 0;
        const mix = (was, now) => was + (now - was) * 0.04;
        stage.in += done;
        stage.out += done * keeps;
        stage.rate = mix(stage.rate, (done * keeps) / TICK);
        stage.busy = mix(stage.busy, busy);
        stage.waits = mix(stage.waits, waits);
        stage.idle = Math.max(0, 1 - stage.busy - stage.waits);
        if (nodes[at].sides?.includes("late")) stage.late += done * 0.002;
        if (nodes[at].sides?.includes("invalid")) stage.invalid += done * 0.0004;
        stage.held = nodes[at].stateful ? 4_000 + 900 * Math.sin(this.elapsed / 3) : NaN;
      }
    }
  }

  verdict() {
    const { nodes, edges } = this.job;
    const fed = (at) => edges.some((edge, i) => edge.to === at && this.queues[i].held > 0.7 * CAPACITY);
    const found = [...nodes.keys()].filter((at) => this.stages[at].waits < 0.3 && fed(at));
    found.sort((a, b) => this.stages[b].busy - this.stages[a].busy);
    const at = found[0];
    if (at === undefined) return { node: null, words: "keeps up: every queue is short" };
    const into = edges.map((_, i) => i).filter((i) => edges[i].to === at);
    const before = edges[into.sort((a, b) => this.queues[b].held - this.queues[a].held)[0]].from;
    const percent = (share) => `${Math.round(share * 100)} %`;
    const upstream = `\`${nodes[before].label}\` upstream waits ${percent(this.stages[before].waits)}`;
    return { node: at, words: `\`${nodes[at].label}\` limits the stream: busy ${percent(this.stages[at].busy)} of the time, ${upstream}` };
  }

  values() {
    const nodes = this.stages.flatMap((s, at) => [
      s.in, s.out, s.rate, s.busy, s.waits, s.idle, 1_024, 0.4 + (40_000 / this.job.nodes[at].speed), 1.5 + 120_000 / this.job.nodes[at].speed,
      this.job.nodes[at].kind === "read" ? NaN : 180 + 4_000 * s.busy, Math.floor(s.late), Math.floor(s.invalid), s.held, 1, 0,
    ]);
    const edges = this.queues.flatMap((q) => [q.rows, q.held / CAPACITY, CAPACITY, q.refused]);
    return [...nodes, ...edges];
  }

  totals() {
    const all = [...this.stages.keys()];
    const sources = all.filter((at) => this.job.nodes[at].kind === "read");
    const sinks = all.filter((at) => this.job.nodes[at].sink);
    const sum = (list, of) => list.reduce((total, at) => total + of(this.stages[at]), 0);
    const rows = sum(sources, (s) => s.out);
    return {
      rows_in: Math.floor(rows), rows_out: Math.floor(sum(sinks, (s) => s.in)), rows_per_s: sum(sources, (s) => s.rate),
      late: Math.floor(sum(all, (s) => s.late)), invalid: Math.floor(sum(all, (s) => s.invalid)),
      progress: Math.min(1, rows / 2_000_000), memory: 48e6 + 6e6 * Math.sin(this.elapsed / 5),
    };
  }

  message() {
    const { elapsed } = this;
    return { t: "frame", seq: ++this.seq, elapsed, verdict: this.verdict(), totals: this.totals(), log: this.lines.splice(0) };
  }

  frame(more = {}) {
    this.model.say({ ...this.message(), ...more }, this.values());
  }

  /** What a job leaves in its model when it has ended. */
  last(verdict, log) {
    const values = this.values().map((value) => (Number.isFinite(value) ? value : null));
    const rows = (many, width) => Array.from({ length: many }, () => values.splice(0, width));
    const node = rows(this.stages.length, FIELDS.node.length);
    const edge = rows(this.queues.length, FIELDS.edge.length);
    return { node, edge, verdict, totals: this.totals(), elapsed: this.elapsed, log };
  }

  hear(message) {
    if (message.t === "do") {
      const next = { pause: "paused", resume: "running", drain: "draining", stop: "stopped" }[message.do];
      this.model.say({ t: "doing", do: message.do });
      setTimeout(() => {
        if (next) this.model.set("status", next);
        if (message.do === "step") this.run(TICK);
        this.lines.push({ n: Date.now(), at: this.elapsed, level: message.do === "stop" ? "warning" : "info", text: `${message.do} was asked for` });
        this.model.say({ t: "done", do: message.do, error: null, did: "" });
        this.frame();
      }, 60);
    }
    if (message.t === "peek") setTimeout(() => this.model.say(rowsFor(message)), 60);
    if (message.t === "windows") setTimeout(() => this.model.say(windowsFor(message)), 60);
  }
}

function rowsFor({ id }) {
  const columns = [
    { name: "user_id", dtype: "Int64", summary: "1 to 9,120" },
    { name: "page", dtype: "String", summary: "214 values" },
    { name: "ts", dtype: "Datetime('us')", summary: "09:00:00 to 09:00:04" },
    { name: "price", dtype: "Float64", summary: "mean 41.20, 3 null" },
    { name: "country", dtype: "String", summary: "31 values" },
  ];
  const countries = ["NL", "DE", "FR", null, "IT"];
  const rows = Array.from({ length: 12 }, (_, at) => [
    String(1_000 + at * 37), `/shop/item-${at % 7}`, `2026-01-05 09:00:${String(at % 60).padStart(2, "0")}.250`,
    at % 5 === 3 ? null : (12.5 + at * 3.25).toFixed(2), countries[at % 5],
  ]);
  return { t: "rows", id, title: "sample", columns, rows, of: 1_024, note: "" };
}

function windowsFor({ id }) {
  const columns = [
    { name: "start", dtype: "Datetime", summary: "" },
    { name: "end", dtype: "Datetime", summary: "" },
    { name: "keys", dtype: "UInt32", summary: "" },
    { name: "rows", dtype: "UInt32", summary: "" },
  ];
  const rows = [
    ["2026-01-05 09:00", "2026-01-05 10:00", "14", "3201"],
    ["2026-01-05 10:00", "2026-01-05 11:00", "12", "811"],
  ];
  const waits = ["the watermark, 4 min to go", "the watermark, 1 h 4 min to go"];
  return { t: "windows", id, title: "hourly", watermark: "2026-01-05 09:56:02", columns, rows, waits, of: 2 };
}
