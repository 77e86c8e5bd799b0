/** Above the picture: how the job is, what limits it, what it has done, and what may be done with it. */

import { Buttons } from "./buttons";
import { el, Text, worded } from "./dom";
import { bytes, clock, count } from "./format";
import { glyph } from "./icons";
import type { Action, DoneMessage, Status, Totals, Verdict } from "./model";

const SIGNS: Record<Status, string> = {
  running: "dot",
  paused: "pause",
  draining: "drain",
  finished: "check",
  failed: "cross",
  stopped: "stop",
  disconnected: "gone",
  starting: "play",
  restarting: "play",
  stopping: "drain",
  detached: "gone",
};
const TOTALS: [keyof Totals | "elapsed", string, (value: number) => string][] = [
  ["rows_per_s", "rows/s", count],
  ["rows_in", "rows in", count],
  ["rows_out", "rows out", count],
  ["late", "late", count],
  ["invalid", "invalid", count],
  ["memory", "memory", bytes],
  ["instances", "instances", count],
  ["checkpoints", "checkpoints", count],
  ["failed_checkpoints", "failed checkpoints", count],
  ["restarts", "restarts", count],
  ["elapsed", "time", clock],
];
const ALWAYS = ["rows_per_s", "rows_in", "rows_out", "late", "invalid", "elapsed"];
const ALARMS = ["late", "invalid", "failed_checkpoints", "restarts"];
const SAY_EVERY = 1_000;
const NOTED = 4_000;

export class Header {
  #pill = el("span", { class: "pill" });
  #verdict = el("p", { class: "verdict", role: "status" });
  #says = el("div", { class: "says" });
  #find = el("button", { type: "button", title: "go to the stage that limits the stream" }, "Show");
  #error = el("pre", { class: "error", role: "alert" });
  #note = el("p", { class: "note", role: "status" });
  #progress = el("progress", { max: 1, "aria-label": "progress" });
  #totals = new Map<string, { text: Text; tile: HTMLElement }>();
  #buttons: Buttons;
  #el: HTMLElement;
  #fading: ReturnType<typeof setTimeout> | undefined;
  #said = "";
  #saidAt = -Infinity;
  #wanted: Verdict = { node: null, words: "" };

  constructor(name: string, act: (action: Action) => void, find: (node: number) => void) {
    this.#find.addEventListener("click", () => {
      if (this.#wanted.node !== null) find(this.#wanted.node);
    });
    this.#buttons = new Buttons(act, (text, bad, stays) => this.note(text, bad, stays));
    const tiles = el("dl", { class: "totals" });
    for (const [key, title] of TOTALS) {
      const text = new Text();
      const tile = el("div", {}, el("dt", {}, title), el("dd", {}, text.at));
      text.set("–");
      // The others are shown when they are told.
      tile.hidden = !ALWAYS.includes(key);
      this.#totals.set(key, { text, tile });
      tiles.append(tile);
    }
    this.#note.hidden = this.#error.hidden = this.#progress.hidden = this.#find.hidden = true;
    this.#says.append(this.#verdict, this.#find);
    this.#el = el(
      "header",
      {},
      el("div", { class: "top" }, this.#pill, el("h3", { title: name }, name), this.#buttons.node()),
      this.#progress,
      this.#says,
      this.#error,
      this.#note,
      tiles,
    );
  }

  node(): HTMLElement {
    return this.#el;
  }

  status(status: Status, can: Action[], job: Status, error: string): void {
    this.#pill.replaceChildren(glyph(SIGNS[status] ?? "dot"), status);
    this.#pill.dataset["status"] = status;
    this.#buttons.show(can, job);
    this.#error.hidden = !error;
    if (this.#error.textContent !== error) this.#error.textContent = error;
  }

  paint(verdict: Verdict, totals: Totals, elapsed: number): void {
    this.#wanted = verdict;
    for (const [key, , as] of TOTALS) {
      const value = key === "elapsed" ? elapsed : totals[key];
      const found = this.#totals.get(key);
      if (found && value !== undefined && !ALWAYS.includes(key)) found.tile.hidden = false;
      if (!found?.text.set(as(value ?? NaN))) continue;
      if (ALARMS.includes(key)) found.tile.className = (value ?? 0) > 0 ? "alarm" : "none";
    }
    this.#progress.hidden = totals.progress === null || totals.progress === undefined;
    if (!this.#progress.hidden) this.#progress.value = totals.progress ?? 0;
  }

  /** Say the verdict; at most once a second, so that a screen reader can finish the sentence. */
  describe(now: number, instead = ""): void {
    const words = instead || this.#wanted.words;
    const kind = instead ? "gone" : this.#wanted.node === null ? "calm" : "limit";
    if (words + kind === this.#said || now - this.#saidAt < SAY_EVERY) return;
    this.#said = words + kind;
    this.#saidAt = now;
    this.#verdict.replaceChildren(...worded(words));
    this.#says.dataset["kind"] = kind;
    this.#find.hidden = kind !== "limit";
  }

  doing(action: string): void {
    this.#buttons.doing(action);
  }

  done({ do: action, error, did }: DoneMessage): void {
    this.#buttons.done(action, error, did);
  }

  /** What went well need not be said for long. */
  note(text: string, bad: boolean, stays = bad): void {
    clearTimeout(this.#fading);
    if (text && !stays) this.#fading = setTimeout(() => this.note("", false), NOTED);
    this.#note.textContent = text;
    this.#note.hidden = text === "";
    this.#note.classList.toggle("bad", bad);
  }

  dispose(): void {
    clearTimeout(this.#fading);
    this.#buttons.dispose();
  }
}
