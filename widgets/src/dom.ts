/** Small words for elements. Text is only ever set as text, so nothing from a job can become markup. */

type Attributes = Record<string, string | number>;

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  set(made, attributes);
  made.append(...children);
  return made;
}

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): SVGElementTagNameMap[K] {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(made, attributes);
  made.append(...children);
  return made;
}

export function set(element: Element, attributes: Attributes): void {
  for (const name in attributes) element.setAttribute(name, String(attributes[name]));
}

/** A text that touches the page only if it has changed. */
export class Text {
  readonly at: globalThis.Text = document.createTextNode("");
  #was = "";

  set(text: string): boolean {
    if (text === this.#was) return false;
    this.at.data = this.#was = text;
    return true;
  }
}

/** An attribute that touches the page only if it has changed. */
export class Attribute {
  #element: Element;
  #name: string;
  #was: string | null = null;

  constructor(element: Element, name: string) {
    this.#element = element;
    this.#name = name;
  }

  set(value: string): void {
    if (value === this.#was) return;
    this.#was = value;
    this.#element.setAttribute(this.#name, value);
  }
}

/** Words in which names stand between backticks, as elements. */
export function worded(text: string): (Node | string)[] {
  return text.replaceAll(" %", "\u00a0%").split("`").map((part, at) => (at % 2 ? el("code", {}, part) : part));
}
