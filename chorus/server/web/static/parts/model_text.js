// A text of a model: plain at first, rendered by the server when somebody wants it.

import { postJson } from "../lib/api.js";
import { h, replace, setHtml } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

const LONG = 20_000; // characters, beyond which the rest is shown on demand

/** Returns `text` as it is, with a button that renders its Markdown and back. */
export function modelText(text) {
  const body = h("div", { class: "text plain" });
  const state = { html: null, isRendered: false, isWhole: text.length <= LONG };
  const button = h(
    "button",
    { class: "quiet small", onclick: toggle, "aria-pressed": "false" },
    t("traces.render"),
  );
  const rest = h(
    "button",
    { class: "quiet small", onclick: showAll },
    t("traces.showAll", { count: text.length }),
  );
  const note = h("span", { class: "error small", role: "status" });
  const bar = h("div", { class: "row text-bar" });
  draw();
  return h("div", { class: "model-text" }, body, bar);

  async function toggle() {
    state.isRendered = !state.isRendered;
    replace(note);
    if (state.isRendered && state.html === null) {
      button.disabled = true;
      try {
        state.html = (await postJson("api/v1/render", { text })).html;
      } catch (error) {
        state.isRendered = false;
        replace(note, error.message);
      }
      button.disabled = false;
    }
    draw();
    button.focus();
  }

  function showAll() {
    state.isWhole = true;
    draw();
  }

  function draw() {
    body.className = state.isRendered ? "text" : "text plain";
    button.setAttribute("aria-pressed", String(state.isRendered));
    replace(bar, button, !state.isWhole && !state.isRendered && rest, note);
    if (state.isRendered) setHtml(body, state.html);
    else replace(body, state.isWhole ? text : `${text.slice(0, LONG)}…`);
  }
}
