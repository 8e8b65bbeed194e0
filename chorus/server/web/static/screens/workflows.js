// Workflows: each one drawn, with the calls, the time and the money that a request takes at most.

import { getJson, postJson } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { formatCost, formatMs, formatNumber } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { address } from "../lib/router.js";
import { fact } from "../parts/card.js";
import { drawing } from "../parts/outline.js";
import { problem } from "../parts/problem.js";

const ASSUMED = { prompt_tokens: 1000, answer_tokens: 500 };

/** Shows the screen; returns what ends it. The address names a workflow or a model. */
export function show(main, { rest }) {
  const abort = new AbortController();
  open(main, rest, abort.signal).catch((error) => abort.signal.aborted || replace(main, problem(error)));
  return () => abort.abort();
}

async function open(main, name, signal) {
  const { data: models } = await getJson("v1/models", signal);
  const chosen = models.find(({ id }) => id === name) ?? models[0];
  const shown = h("section", { class: "workflow stack" });
  replace(main, h("h1", {}, t("nav.workflows")), h("div", { class: "split" }, list(models, chosen), shown));
  if (!chosen) {
    replace(shown, h("p", { class: "empty" }, t("workflows.none")));
    return;
  }
  await explain(shown, chosen, ASSUMED, signal);
}

function list(models, chosen) {
  const groups = ["workflow", "model"].map((kind) => {
    const rows = models.filter((model) => model.kind === kind);
    if (!rows.length) return null;
    return [
      h("h2", {}, t(`workflows.kind.${kind}`)),
      h("ul", {}, rows.map((model) => h("li", {}, link(model, model === chosen)))),
    ];
  });
  return h("nav", { class: "names", "aria-label": t("nav.workflows") }, groups);
}

function link({ id, description }, isChosen) {
  return h(
    "a",
    { href: address("workflows", id), "aria-current": isChosen ? "true" : null },
    id,
    description && h("span", { class: "faint small" }, description),
  );
}

/** Asks what a request of this length takes, and draws it. */
async function explain(shown, model, assumed, signal) {
  const expected = await postJson("api/v1/explain", { model: model.id, ...assumed }, signal);
  const { outline } = expected;
  replace(
    shown,
    h(
      "div",
      { class: "row" },
      h("h2", { class: "title" }, model.id),
      h("span", { class: "spring" }),
      h("a", { class: "button", href: address("ask", "", { model: model.id }) }, t("workflows.ask")),
    ),
    outline.description && h("p", {}, outline.description),
    facts(expected),
    lengths(assumed, (other) => explain(shown, model, other, signal).catch((error) => replace(shown, problem(error)))),
    drawing(outline.root, expected.stages),
  );
}

function facts({ candidates, calls, at_least_calls: least, extra_calls: extra, worst_case_secs: secs, cost, outline }) {
  const { limits } = outline;
  return h(
    "dl",
    { class: "facts figures" },
    fact(t("workflows.candidates"), candidates),
    fact(t("workflows.calls"), least < calls ? t("workflows.calls.range", { least, calls }) : calls),
    extra > 0 && fact(t("workflows.extra"), extra),
    fact(t("workflows.time"), secs === null ? t("workflows.time.unbounded") : formatMs(secs * 1000)),
    fact(t("workflows.cost"), money(cost)),
    limits.max_parallel && fact(t("workflows.parallel"), limits.max_parallel),
    limits.max_total_tokens && fact(t("workflows.budget"), t("tokens", { count: formatNumber(limits.max_total_tokens) })),
    limits.max_cost && fact(t("workflows.budget"), formatCost(limits.max_cost)),
  );
}

function money({ estimate, partial, unpriced }) {
  if (estimate !== null) return formatCost(estimate);
  if (partial > 0) return t("workflows.cost.partial", { cost: formatCost(partial), count: unpriced.length });
  return t("cost.unknown");
}

/** The lengths that the figures assume; changing one asks again. */
function lengths(assumed, onChange) {
  const fields = Object.entries(assumed).map(([name, value]) => {
    const field = h("input", { id: name, type: "number", min: 0, max: 1_000_000, step: 100, value });
    field.addEventListener("change", () => field.reportValidity() && onChange({ ...assumed, [name]: Number(field.value) }));
    return [h("label", { for: name }, t(`workflows.${name}`)), field];
  });
  return h("div", { class: "row lengths small" }, h("span", { class: "faint" }, t("workflows.assumed")), fields);
}
