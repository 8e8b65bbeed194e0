// A JSON value in full, to read, copy and keep.

import { h, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

/** Returns a part that opens to the JSON that `load` returns; `name` is that of its file. */
export function rawJson(load, name) {
  const box = h("div", { class: "raw-json" });
  const details = h("details", { class: "panel" }, h("summary", {}, t("traces.raw")), box);
  details.addEventListener("toggle", async () => {
    if (!details.open) return;
    try {
      draw(box, JSON.stringify(await load(), null, 2), name);
    } catch (error) {
      replace(box, h("p", { class: "error" }, error.message));
    }
  });
  return details;
}

function draw(box, text, name) {
  const said = h("span", { class: "faint small", role: "status" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      replace(said, t("traces.copied"));
    } catch {
      getSelection().selectAllChildren(shown); // without a clipboard (plain http), it is ready to be copied
      replace(said, t("traces.selected"));
    }
  };
  const shown = h("pre", { class: "mono json", tabindex: 0, "aria-label": t("traces.raw") }, text);
  const buttons = h(
    "div",
    { class: "row" },
    h("button", { onclick: copy }, t("traces.copy")),
    h("button", { onclick: () => download(text, name) }, t("traces.download")),
    said,
  );
  replace(box, buttons, shown);
}

function download(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000); // the browser has begun to read by then
}
