// A text to read, copy and keep.

import { h, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

/** Returns `text` with a button that copies it; `label` names it, `others` are further buttons. */
export function copyable(text, label, ...others) {
  const said = h("span", { class: "faint small", role: "status" });
  const shown = h("pre", { class: "mono json", tabindex: 0, "aria-label": label }, text);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      replace(said, t("copy.done"));
    } catch {
      getSelection().selectAllChildren(shown); // without a clipboard (plain http), it is ready to be copied
      replace(said, t("copy.selected"));
    }
  };
  return [h("div", { class: "row" }, h("button", { onclick: copy }, t("copy")), others, said), shown];
}
