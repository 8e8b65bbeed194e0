// Two runs beside each other: figures, answers, waterfalls on one scale, workers by model.

import { h, replace } from "../../lib/dom.js";
import { formatCost, formatMs, formatNumber, formatTime } from "../../lib/format.js";
import { t } from "../../lib/i18n.js";
import { figuresOf, pairsOf, statesOf } from "../../lib/compare.js";
import { finishedRun } from "../../lib/kept.js";
import { address, go } from "../../lib/router.js";
import { answerOf, rowsOf, spanOf } from "../../lib/trace.js";
import { modelText } from "../../parts/model_text.js";
import { problem } from "../../parts/problem.js";
import { tokens } from "../../parts/stage_table.js";
import { stateText } from "../../parts/stage_words.js";
import { legend, toneOf, waterfall } from "../../parts/waterfall.js";
import { back } from "./one.js";

const WRITE = {
  duration: formatMs,
  critical: formatMs,
  first: formatMs,
  calls: formatNumber,
  tokens: formatNumber,
  cost: formatCost,
};

/** Shows the runs `id` and `otherId`. Returns what ends it. */
export function showTwo(main, id, otherId) {
  const ending = new AbortController();
  const title = h("h1", {}, t("traces.comparison"));
  replace(main, back(), title, h("p", { class: "faint", role: "status" }, t("traces.waitingForBoth")));
  load();
  return () => ending.abort();

  async function load() {
    try {
      const [one, other] = await Promise.all(
        [id, otherId].map((which) => finishedRun(which, ending.signal)),
      );
      replace(
        main,
        back(),
        h(
          "div",
          { class: "row traces-head" },
          title,
          h("span", { class: "space" }),
          h("button", { onclick: () => go("traces", otherId, { with: id }) }, t("traces.swap")),
        ),
        h(
          "div",
          { class: "stack" },
          figures(one, other),
          waterfalls(one, other),
          answers(one, other),
          workers(one, other),
        ),
      );
    } catch (error) {
      if (!ending.signal.aborted) replace(main, back(), title, problem(error, load));
    }
  }
}

function figures(one, other) {
  const states = statesOf(one, other);
  const state = (status) => h("span", { class: `chip ${toneOf(status)}` }, stateText(status));
  const head = (run, side) =>
    h(
      "th",
      { scope: "col", class: "number" },
      h("div", {}, `${side} · `, h("a", { href: address("traces", run.id) }, run.model)),
      h("div", { class: "faint mono id" }, run.id),
      h("div", { class: "faint small" }, run.startedAt ? formatTime(run.startedAt) : ""),
    );
  return h(
    "section",
    { class: "panel flush scroll", role: "region", tabindex: 0, "aria-label": t("traces.summary") },
    h(
      "table",
      { class: "figures" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("td", {}),
          head(one, "A"),
          head(other, "B"),
          h("th", { scope: "col", class: "number" }, t("traces.change")),
        ),
      ),
      h(
        "tbody",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "row" }, t("traces.status")),
          h("td", { class: "number" }, state(states.one)),
          h("td", { class: "number" }, state(states.other)),
          h("td", { class: "number" }, states.isSame ? t("traces.same") : t("traces.differs")),
        ),
        figuresOf(one, other).map(figureRow),
      ),
    ),
  );
}

function figureRow({ name, one, other, change }) {
  const write = (value) => (value === null ? "–" : WRITE[name](value));
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, t(`traces.${name}`)),
    h("td", { class: "number" }, write(one)),
    h("td", { class: "number" }, write(other)),
    h(
      "td",
      { class: `number ${change > 0 ? "more" : change < 0 ? "less" : ""}` },
      changeText(change, one, WRITE[name]),
    ),
  );
}

/** Returns a difference with its sign and in percent, such as `+120 ms (+8%)`. */
function changeText(change, one, write) {
  if (change === null) return "–";
  if (change === 0) return "±0";
  const sign = change > 0 ? "+" : "−";
  const percent = one > 0 ? ` (${sign}${Math.round((Math.abs(change) / one) * 100)}%)` : "";
  return `${sign}${write(Math.abs(change))}${percent}`;
}

function waterfalls(one, other) {
  const spanMs = Math.max(spanOf(one), spanOf(other));
  const chart = (run, side) =>
    h(
      "div",
      {},
      h("h2", {}, `${side} · ${run.model}`),
      waterfall(rowsOf(run), {
        spanMs,
        nowMs: run.endMs,
        selected: null,
        onSelect: (path) => go("traces", run.id, { stage: path }),
        label: `${t("traces.waterfall")} ${side}`,
      }),
    );
  return h(
    "section",
    { class: "panel stack", "aria-label": t("traces.waterfall") },
    chart(one, "A"),
    chart(other, "B"),
    legend(),
  );
}

function answers(one, other) {
  const answer = (run, side) => {
    const { text } = answerOf(run);
    return h(
      "section",
      { class: "panel", "aria-label": `${t("traces.final")} ${side}` },
      h("h2", {}, `${side} · ${t("traces.final")}`),
      text ? modelText(text) : h("p", { class: "faint" }, run.error?.message ?? t("traces.noText")),
    );
  };
  return h("div", { class: "two" }, answer(one, "A"), answer(other, "B"));
}

function workers(one, other) {
  const pairs = pairsOf(one, other).map(([first, second]) =>
    h(
      "section",
      { class: "worker-pair" },
      h("h3", {}, (first ?? second).model ?? (first ?? second).name),
      h("div", { class: "two" }, workerCell(first, "A"), workerCell(second, "B")),
    ),
  );
  return h(
    "section",
    { class: "panel stack", "aria-labelledby": "workers-title" },
    h("h2", { id: "workers-title" }, t("traces.byModel")),
    pairs,
  );
}

function workerCell(stage, side) {
  if (!stage) return h("p", { class: "faint" }, `${side} · ${t("traces.notAsked")}`);
  return h(
    "div",
    {},
    h(
      "p",
      { class: "row small" },
      h("strong", {}, side),
      h("span", { class: `chip ${toneOf(stage.status)}` }, stateText(stage.status)),
      h("span", { class: "number" }, formatMs((stage.endMs ?? stage.startMs) - stage.startMs)),
      h("span", { class: "faint number" }, tokens(stage.usage)),
    ),
    stage.error && h("p", { class: "error small" }, stage.error.message),
    stage.text && modelText(stage.text),
  );
}
