/** One view of one job: takes what the kernel sends, and hands it to those that show it. */

import { el } from "./dom";
import { Flow } from "./flow";
import { decode, type Frame, numbers, ofLast } from "./frame";
import { GraphView } from "./graph";
import { Header } from "./header";
import { History } from "./history";
import { ownKeys } from "./keys";
import { legend } from "./legend";
import { Log } from "./log";
import {
  type Action,
  type FrameMessage,
  fieldsOf,
  type FromKernel,
  graphOf,
  type HistoryMessage,
  isLive,
  type Last,
  type Model,
  statusOf,
} from "./model";
import { Panel } from "./panel";
import { Watch } from "./watch";

const SILENCE = 3_000;
const TICK = 250;
const GONE = "no word from the kernel for 3 s; if it was restarted, run the cell again";

type Arrived = { message: FrameMessage; frame: Frame };

export class Dashboard {
  #id = `v${crypto.getRandomValues(new Uint32Array(1))[0] ?? 0}`;
  #model: Model;
  #graph;
  #fields;
  #header: Header;
  #view: GraphView;
  #panel: Panel;
  #log = new Log();
  #history: History;
  #flow: Flow<Arrived>;
  #el: HTMLElement;
  #watch: Watch;
  #letKeysGo: () => void;
  #size: ResizeObserver;
  #timer: ReturnType<typeof setInterval>;
  #heard = performance.now();
  #gone = false;
  #newest: Frame | null = null;
  #heardOf: [string, (...args: never[]) => void][];

  constructor(model: Model) {
    this.#model = model;
    this.#graph = graphOf(model);
    this.#fields = fieldsOf(model);
    this.#history = new History(this.#graph.nodes.length);
    this.#header = new Header(
      this.#graph.name,
      (action) => model.send({ t: "do", do: action }),
      (node) => this.#view.focus({ node }),
    );
    this.#view = new GraphView(this.#graph, (item) => this.#open(item), this.#fields.node);
    this.#panel = new Panel({
      fields: this.#fields,
      send: (message) => model.send(message),
      closed: (item) => {
        this.#view.mark(null);
        this.#view.focus(item);
      },
    });
    const zoom = legend((factor) => this.#view.zoom(factor));
    this.#el = el(
      "div",
      { class: "dataflare", role: "group", "aria-label": `job ${this.#graph.name}` },
      this.#header.node(),
      this.#view.node(),
      zoom,
      this.#panel.node(),
      this.#log.node(),
    );
    this.#letKeysGo = ownKeys(this.#el);
    this.#el.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#panel.item) return;
      event.preventDefault();
      event.stopPropagation();
      this.#panel.close();
    });
    this.#flow = new Flow({
      soon: (callback) => {
        const id = requestAnimationFrame(callback);
        return () => cancelAnimationFrame(id);
      },
      paint: ({ message, frame }) => this.#paint(message, frame),
      ack: (seq) => model.send({ t: "ack", seq }),
    });
    const message = (content: FromKernel, buffers?: DataView[]) => this.#take(content, buffers ?? []);
    const status = () => this.#status();
    const last = () => this.#last();
    this.#heardOf = [
      ["msg:custom", message as never],
      ["change:status", status],
      ["change:error", status],
      ["change:can", status],
      ["change:last", last],
    ];
    for (const [event, callback] of this.#heardOf) model.on(event, callback);
    model.send({ t: "hello", view: this.#id });
    this.#watch = new Watch(this.#el, (visible) => model.send({ t: "view", visible, view: this.#id }));
    let width = 0;
    this.#size = new ResizeObserver(([entry]) => {
      const now = Math.floor(entry?.contentRect.width ?? 0);
      if (now > 0 && now !== width) this.#view.fit((width = now));
    });
    this.#size.observe(this.#view.node());
    this.#timer = setInterval(() => this.#tick(), TICK);
    this.#status();
    this.#last();
  }

  node(): HTMLElement {
    return this.#el;
  }

  close(): void {
    this.#watch.close();
    this.#letKeysGo();
    this.#size.disconnect();
    clearInterval(this.#timer);
    this.#flow.close();
    this.#panel.dispose();
    this.#header.dispose();
    for (const [event, callback] of this.#heardOf) this.#model.off(event, callback);
    this.#model.send({ t: "bye", view: this.#id });
    this.#el.remove();
  }

  #take(message: FromKernel, buffers: DataView[]): void {
    switch (message.t) {
      case "frame": {
        const bytes = buffers[0];
        if (!bytes) return;
        this.#heard = performance.now();
        if (this.#gone) this.#status();
        // Lines come once, so they are kept even if their frame is never painted.
        if (message.log?.length) this.#log.add(message.log);
        const { nodes, edges } = this.#graph;
        const frame = decode(bytes, this.#fields, nodes.length, edges.length);
        this.#flow.take(message.seq, { message, frame });
        return;
      }
      case "history":
        return this.#remember(message, buffers[0]);
      case "doing":
        return this.#header.doing(message.do);
      case "done":
        return this.#header.done(message);
      case "rows":
      case "windows":
        return this.#panel.take(message);
    }
  }

  #paint(message: FrameMessage, frame: Frame): void {
    this.#show(frame, message.elapsed, message.verdict.node);
    this.#header.paint(message.verdict, message.totals, message.elapsed);
    this.#header.describe(performance.now());
  }

  #show(frame: Frame, elapsed: number, culprit: number | null): void {
    const first = this.#newest === null;
    this.#newest = frame;
    this.#view.paint(frame, culprit);
    this.#panel.paint(frame);
    const rate = (row: number) => frame.nodes.get(row, "rows_per_s");
    if (Number.isFinite(elapsed) && this.#history.push(elapsed, rate)) this.#view.trace(this.#history);
    if (first) this.#view.describe();
  }

  #remember(message: HistoryMessage, bytes: DataView | undefined): void {
    if (!bytes) return;
    const values = numbers(bytes);
    const width = this.#graph.nodes.length;
    this.#history.clear();
    message.elapsed.forEach((elapsed, at) => this.#history.push(elapsed, (row) => values[at * width + row] ?? NaN));
    this.#view.trace(this.#history);
  }

  #status(): void {
    const status = statusOf(this.#model);
    this.#gone = isLive(status) && performance.now() - this.#heard > SILENCE;
    const can = (this.#model.get("can") ?? []) as Action[];
    this.#header.status(this.#gone ? "disconnected" : status, can, status, String(this.#model.get("error") ?? ""));
    this.#el.dataset["status"] = this.#gone ? "disconnected" : status;
  }

  #last(): void {
    const last = (this.#model.get("last") ?? {}) as Last;
    const frame = ofLast(last, this.#fields, this.#graph.nodes.length, this.#graph.edges.length);
    if (!frame) return;
    const verdict = last.verdict ?? { node: null, words: "" };
    this.#show(frame, NaN, verdict.node);
    if (last.totals) this.#header.paint(verdict, last.totals, last.elapsed ?? NaN);
    this.#header.describe(performance.now());
    if (last.log) this.#log.add(last.log);
  }

  #tick(): void {
    const now = performance.now();
    const silent = isLive(statusOf(this.#model)) && now - this.#heard > SILENCE;
    if (silent !== this.#gone) this.#status();
    this.#header.describe(now, this.#gone ? GONE : "");
    if (Math.floor(now / 1_000) !== Math.floor((now - TICK) / 1_000)) this.#view.describe();
  }

  #open(item: Parameters<Panel["open"]>[0]): void {
    this.#panel.open(item, this.#graph);
    this.#view.mark(item);
    if (this.#newest) this.#panel.paint(this.#newest);
  }
}
