// What somebody thinks of an answer: a thumb up or down, and a comment if there is more to say.

import { postJson } from "../lib/api.js";
import { h, replace, svg } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

const THUMB = "M2 9h3v8H2zM6.500 9 10 2.500c1.500 0 2.300 1 2 2.500L11.400 8H16a1.700 1.700 0 0 1 1.700 2l-1.200 5.600A1.700 1.700 0 0 1 14.800 17H6.500z";
const SCORES = { up: 1, down: 0 };
const MAX_COMMENT = 2000; // characters, as the server has it

/** Returns the thumbs of the run `id`. `given` is the feedback that the server has, if any. */
export function thumbs(id, given = null) {
  let score = given?.score ?? null;
  const said = h("span", { class: "small faint", role: "status" });
  const buttons = Object.keys(SCORES).map((name) =>
    h(
      "button",
      { class: `quiet thumb ${name}`, "aria-label": t(`thumbs.${name}`), title: t(`thumbs.${name}`), onclick: () => send(SCORES[name]) },
      svg("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, svg("path", { d: THUMB })),
    ),
  );
  const comment = h("input", { type: "text", maxlength: MAX_COMMENT, "aria-label": t("thumbs.comment"), placeholder: t("thumbs.comment") });
  comment.value = given?.comment ?? "";
  const form = h(
    "form",
    { class: "row", hidden: true, onsubmit: submit },
    comment,
    h("button", { class: "quiet" }, t("thumbs.send")),
  );
  press();
  return h("div", { class: "row thumbs", role: "group", "aria-label": t("thumbs.label") }, buttons, form, said);

  function press() {
    for (const [place, value] of Object.values(SCORES).entries())
      buttons[place].setAttribute("aria-pressed", score === value);
  }

  async function submit(event) {
    event.preventDefault();
    await send(score);
    form.hidden = true;
  }

  async function send(value) {
    try {
      await postJson("api/v1/feedback", { workflow_id: id, score: value, comment: comment.value });
      score = value;
      press();
      form.hidden = false;
      replace(said, t("thumbs.kept"));
    } catch (error) {
      replace(said, h("span", { class: "error" }, error.message));
    }
  }
}
