// A JSON value in full, to read, copy and keep.

import { h, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { copyable } from "./copyable.js";

/** Returns a part that opens to the JSON that `load` returns; `name` is that of its file. */
export function rawJson(load, name) {
  const box = h("div", { class: "raw-json" });
  const details = h("details", { class: "panel" }, h("summary", {}, t("traces.raw")), box);
  details.addEventListener("toggle", async () => {
    if (!details.open) return;
    try {
      const text = JSON.stringify(await load(), null, 2);
      const keep = h("button", { onclick: () => download(text, name) }, t("traces.download"));
      replace(box, copyable(text, t("traces.raw"), keep));
    } catch (error) {
      replace(box, h("p", { class: "error" }, error.message));
    }
  });
  return details;
}

function download(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000); // the browser has begun to read by then
}
