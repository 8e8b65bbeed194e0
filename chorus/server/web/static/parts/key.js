// The dialog that asks for an API key, where the server wants one.

import { h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

/** Returns the key that somebody types in. `wasRefused` says that the one before was wrong. */
export function askForKey(wasRefused) {
  return new Promise((resolve) => {
    const field = h("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false", required: true });
    const form = h(
      "form",
      { method: "dialog" },
      h("h2", { id: "key-title" }, t("key.title")),
      h("p", {}, t("key.why")),
      wasRefused && h("p", { class: "error", role: "alert" }, t("key.refused")),
      h("label", { for: "key" }, t("key.label")),
      field,
      h("div", { class: "row end" }, h("button", { class: "primary" }, t("key.use"))),
    );
    const dialog = h("dialog", { "aria-labelledby": "key-title" }, form);
    dialog.addEventListener("cancel", (event) => event.preventDefault()); // nothing works without one
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const key = field.value.trim();
      if (!key) return;
      dialog.close();
      dialog.remove();
      resolve(key);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
