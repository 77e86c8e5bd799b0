/** Frames come in as they like; the newest is painted, and painting gives credit for more. */

export interface Painting<T> {
  /** Ask for a call before the next repaint; returns what takes the request back. */
  soon(callback: () => void): () => void;
  paint(frame: T, seq: number): void;
  ack(seq: number): void;
}

export class Flow<T> {
  #how: Painting<T>;
  #every: number;
  #waiting: { seq: number; frame: T } | null = null;
  #cancel: (() => void) | null = null;
  #newest = -1;
  #acked = -1;
  painted = 0;
  received = 0;

  constructor(how: Painting<T>, every = 5) {
    this.#how = how;
    this.#every = every;
  }

  take(seq: number, frame: T): void {
    this.received++;
    if (seq <= this.#newest) return;
    this.#newest = seq;
    this.#waiting = { seq, frame };
    this.#cancel ??= this.#how.soon(() => this.#paint());
  }

  close(): void {
    this.#cancel?.();
    this.#cancel = this.#waiting = null;
  }

  #paint(): void {
    this.#cancel = null;
    const waiting = this.#waiting;
    if (!waiting) return;
    this.#waiting = null;
    this.#how.paint(waiting.frame, waiting.seq);
    this.painted++;
    if (this.#acked >= 0 && waiting.seq - this.#acked < this.#every) return;
    this.#acked = waiting.seq;
    this.#how.ack(waiting.seq);
  }
}
