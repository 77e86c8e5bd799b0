/** A model as anywidget gives it to a view, without a kernel: what the page sends is kept and handed to a listener. */
export class FakeModel {
  sent = [];
  #traits;
  #listeners = new Map();
  #kernel;

  constructor(traits, kernel = () => {}) {
    this.#traits = traits;
    this.#kernel = kernel;
  }

  get(name) {
    return this.#traits[name];
  }

  set(name, value) {
    this.#traits[name] = value;
    this.#tell(`change:${name}`);
  }

  on(event, callback) {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), callback]);
  }

  off(event, callback) {
    this.#listeners.set(event, (this.#listeners.get(event) ?? []).filter((each) => each !== callback));
  }

  send(content) {
    this.sent.push(content);
    this.#kernel(content);
  }

  /** Say something to the page, as the kernel does. */
  say(content, values) {
    this.#tell("msg:custom", content, values ? [new DataView(Float64Array.from(values).buffer)] : []);
  }

  get listeners() {
    return [...this.#listeners.values()].reduce((sum, each) => sum + each.length, 0);
  }

  #tell(event, ...args) {
    for (const callback of this.#listeners.get(event) ?? []) callback(...args);
  }
}
