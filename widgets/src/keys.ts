/** Keys that are pressed in a view are its own: JupyterLab would delete a cell for two d. */

const SUPPRESS = "data-lm-suppress-shortcuts";

/** Whether it asks for something of the whole page, like Ctrl+S. */
export function isShortcut(event: KeyboardEvent): boolean {
  return event.ctrlKey || event.metaKey || event.altKey;
}

/** Returns what ends it. */
export function ownKeys(root: Element): () => void {
  // JupyterLab listens on the document, before us, and asks the focused element alone, so the mark has to be there by then.
  const mark = (event: KeyboardEvent) => {
    const { target } = event;
    if (target instanceof Element && root.contains(target)) target.toggleAttribute(SUPPRESS, !isShortcut(event));
  };
  window.addEventListener("keydown", mark, true);
  return () => window.removeEventListener("keydown", mark, true);
}
