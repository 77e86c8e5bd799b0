/** What a live table and a live chart share: the newest message wins, and is painted before the next is asked for. */

import { el, set } from "./dom";
import { count } from "./format";

export interface Channel {
  get(name: string): unknown;
  on(name: string, handler: (...args: never[]) => void): void;
  off(name: string, handler: (...args: never[]) => void): void;
  send(message: unknown): void;
}

export interface Shown {
  t: "show" | "alive";
  seq: number;
  title: string;
  came: number;
}


/** A kernel gives a sign of life every two seconds. */
const SILENT_MS = 6_000;

export abstract class Live<Message extends Shown> {
  protected body = el("div", { class: "body" });
  #id = `v${crypto.getRandomValues(new Uint32Array(1))[0] ?? 0}`;
  #model: Channel;
  #el = el("section", { class: "dataflare-live" });
  #head = el("b");
  #came = el("span", { class: "dim" });
  #said = el("span", { class: "state", role: "status" }, "waiting for rows");
  #waiting: [Message, DataView | undefined] | null = null;
  #frame = 0;
  #heard = Date.now();
  #watch = setInterval(() => this.#state(), 1_000);
  #hear = (message: Message, buffers: DataView[]) => this.#take(message, buffers[0]);
  #ended = () => this.#state();

  constructor(model: Channel, kind: string) {
    this.#model = model;
    set(this.#el, { "aria-label": `live ${kind}`, tabindex: 0 });
    this.#el.append(el("header", {}, this.#head, this.#came, this.#said), this.body);
    model.on("msg:custom", this.#hear);
    model.on("change:ended", this.#ended);
    model.send({ t: "hello", view: this.#id });
  }

  node(): HTMLElement {
    return this.#el;
  }

  close(): void {
    cancelAnimationFrame(this.#frame);
    clearInterval(this.#watch);
    this.#model.off("msg:custom", this.#hear);
    this.#model.off("change:ended", this.#ended);
    this.#model.send({ t: "bye", view: this.#id });
  }

  protected abstract paint(message: Message, numbers: Float64Array): void;

  #take(message: Message, buffer: DataView | undefined): void {
    this.#heard = Date.now();
    if (message.t !== "show") return this.#state();
    this.#waiting = [message, buffer];
    // A hidden page has no frames, so it asks for nothing until somebody looks.
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#show());
  }

  #show(): void {
    this.#frame = 0;
    if (!this.#waiting) return;
    const [message, buffer] = this.#waiting;
    this.#waiting = null;
    this.#head.textContent = message.title;
    this.#came.textContent = `${count(message.came)} rows`;
    this.#state();
    this.paint(message, doubles(buffer));
    this.#model.send({ t: "ack", seq: message.seq });
  }

  #state(): void {
    const gone = Date.now() - this.#heard > SILENT_MS;
    const said = this.#model.get("ended") ? "ended" : gone ? "disconnected" : this.#head.textContent ? "live" : "waiting for rows";
    if (this.#said.textContent !== said) this.#said.textContent = said;
  }
}

/** The numbers of a buffer, wherever it begins. */
export function doubles(buffer: DataView | undefined): Float64Array {
  if (!buffer) return new Float64Array();
  return new Float64Array(buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength));
}

