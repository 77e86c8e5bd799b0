/** What may be done with a job. A button waits for its answer and says so when that takes long. */

import { el } from "./dom";
import { glyph } from "./icons";
import type { Action, Status } from "./model";

const WORDS: Record<Action, [string, string]> = {
  pause: ["pause", "Pause"],
  resume: ["play", "Resume"],
  step: ["step", "Step"],
  drain: ["drain", "Drain"],
  stop: ["stop", "Stop"],
  checkpoint: ["flag", "Checkpoint"],
  savepoint: ["stop", "Stop with savepoint"],
  cancel: ["cross", "Cancel"],
};
const TITLES: Record<Action, string> = {
  pause: "hold the sources",
  resume: "go on",
  step: "let one batch through",
  drain: "read no more, and finish what is on its way",
  stop: "end now",
  checkpoint: "save the state now",
  savepoint: "save the state and end, to go on from there",
  cancel: "end now; what is not in a checkpoint is given up",
};
const SENSE: Record<Action, Status[]> = {
  pause: ["running"],
  resume: ["paused"],
  step: ["paused"],
  drain: ["running", "paused"],
  stop: ["running", "paused", "draining"],
  checkpoint: ["running", "paused"],
  savepoint: ["running"],
  cancel: ["running", "starting", "restarting", "stopping", "disconnected"],
};
const BUSY_AFTER = 1_000;

export class Buttons {
  #act: (action: Action) => void;
  #note: (text: string, bad: boolean, stays?: boolean) => void;
  #el = el("div", { class: "buttons", role: "toolbar", "aria-label": "job" });
  #made = new Map<Action, HTMLButtonElement>();
  #waiting = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(act: (action: Action) => void, note: (text: string, bad: boolean, stays?: boolean) => void) {
    this.#act = act;
    this.#note = note;
  }

  node(): HTMLElement {
    return this.#el;
  }

  show(can: Action[], status: Status): void {
    const known = (Object.keys(WORDS) as Action[]).filter((action) => can.includes(action));
    if (known.join() !== [...this.#made.keys()].join()) this.#build(known);
    const had = [...this.#made.values()].find((button) => button === document.activeElement);
    for (const [action, button] of this.#made) button.disabled = !SENSE[action].includes(status);
    const [pause, resume] = [this.#made.get("pause"), this.#made.get("resume")];
    if (pause && resume) {
      pause.hidden = status === "paused";
      resume.hidden = !pause.hidden;
      if (had?.hidden) (had === pause ? resume : pause).focus();
    }
  }

  /** The kernel has heard it, so it is not busy; the work may go on. */
  doing(action: string): void {
    clearTimeout(this.#waiting.get(action));
    this.#note("", false);
  }

  done(action: string, error: string | null, did = ""): void {
    clearTimeout(this.#waiting.get(action));
    this.#waiting.delete(action);
    this.#made.get(action as Action)?.removeAttribute("aria-busy");
    if (error) this.#note(`${action}: ${error}`, true);
    else if (this.#waiting.size === 0) this.#note(did, false);
  }

  dispose(): void {
    for (const timer of this.#waiting.values()) clearTimeout(timer);
    this.#waiting.clear();
  }

  #build(actions: Action[]): void {
    this.#made.clear();
    for (const action of actions) {
      const [sign, word] = WORDS[action];
      const made = el("button", { type: "button", "data-do": action, title: TITLES[action] });
      made.append(glyph(sign), word);
      made.addEventListener("click", () => this.#press(action, made));
      this.#made.set(action, made);
    }
    this.#el.replaceChildren(...this.#made.values());
  }

  #press(action: Action, button: HTMLButtonElement): void {
    if (this.#waiting.has(action)) return;
    button.setAttribute("aria-busy", "true");
    const late = () => this.#note("the kernel is busy: waiting for the cell to end", false, true);
    this.#waiting.set(action, setTimeout(late, BUSY_AFTER));
    this.#act(action);
  }
}
