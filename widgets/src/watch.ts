/** When somebody looks: the page in front, and the view in sight. */

export class Watch {
  #tell: (visible: boolean) => void;
  #observer: IntersectionObserver;
  #inSight = true;
  #was: boolean | null = null;
  #changed = () => this.#look();

  constructor(element: Element, tell: (visible: boolean) => void) {
    this.#tell = tell;
    this.#observer = new IntersectionObserver((entries) => {
      this.#inSight = entries[entries.length - 1]?.isIntersecting ?? true;
      this.#look();
    });
    this.#observer.observe(element);
    document.addEventListener("visibilitychange", this.#changed);
    this.#look();
  }

  close(): void {
    this.#observer.disconnect();
    document.removeEventListener("visibilitychange", this.#changed);
  }

  #look(): void {
    const now = this.#inSight && !document.hidden;
    if (now === this.#was) return;
    this.#was = now;
    this.#tell(now);
  }
}
