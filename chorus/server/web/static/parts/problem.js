// What went wrong, as people read it.

import { h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

/** Returns a box that says why something failed. `again`, if given, is what its button does. */
export function problem(error, again = null) {
  const isOurs = error.status !== undefined; // an ApiError; else the connection, or the page itself
  return h(
    "div",
    { class: "problem", role: "alert" },
    h("strong", {}, isOurs ? t("problem.refused") : t("problem.unreachable")),
    h("p", {}, error.message),
    error.requestId && h("p", { class: "faint" }, t("problem.request", { id: error.requestId })),
    again && h("button", { onclick: again }, t("problem.again")),
  );
}
