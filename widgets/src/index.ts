/** The door for anywidget: each view is one dashboard, and takes itself away. */

import { Dashboard } from "./dashboard";
import type { Model } from "./model";

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const dashboard = new Dashboard(model);
  el.append(dashboard.node());
  return () => dashboard.close();
}

export default { render };
