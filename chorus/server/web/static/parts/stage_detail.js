// One stage in full: what it wrote, what the judge said, why it failed.

import { h } from "../lib/dom.js";
import { formatCost, formatMs, formatNumber } from "../lib/format.js";
import { hasText, t } from "../lib/i18n.js";
import { queueOf } from "../lib/trace.js";
import { modelText } from "./model_text.js";
import { instances, temperature, tokens } from "./stage_table.js";
import { stageLabel, stateText } from "./stage_words.js";
import { toneOf } from "./waterfall.js";

const JUDGED = [
  "selected_index",
  "selected_worker",
  "reasoning",
  "scores",
  "ranking",
  "order_shown",
  "decisive",
  "confidence",
];

/** Returns the detail of `stage`. */
export function stageDetail(stage, { nowMs, isWinner }) {
  return h(
    "section",
    { class: "panel stage-detail", "aria-labelledby": "stage-title" },
    h(
      "div",
      { class: "row" },
      h("h2", { id: "stage-title" }, stageLabel(stage)),
      isWinner && h("span", { class: "chip good" }, t("traces.chosen")),
      h("span", { class: `chip ${toneOf(stage.status)}` }, stateText(stage.status)),
    ),
    facts(stage, nowMs),
    stage.error && failure(stage),
    stage.details.selected_worker !== undefined && verdict(stage.details),
    stage.details.analysis && part("analysis", json(stage.details.analysis)),
    stage.text && part("answer", modelText(stage.text)),
    stage.toolCalls.length > 0 && part("tools", stage.toolCalls.map(toolCall)),
    stage.reasoning && part("reasoning", modelText(stage.reasoning)),
    others(stage.details),
  );
}

function facts(stage, nowMs) {
  const first = stage.firstTokenMs === null ? null : formatMs(stage.firstTokenMs - stage.startMs);
  const pairs = [
    ["model", stage.model],
    ["instance", stage.attempts.length ? instances(stage) : null],
    ["start", formatMs(stage.startMs)],
    ["queue", queueOf(stage) ? formatMs(queueOf(stage)) : null],
    ["first", first],
    ["duration", formatMs((stage.endMs ?? nowMs) - stage.startMs)],
    ["tokens", stage.usage ? tokens(stage.usage) : null],
    ["cost", stage.cost === null ? null : formatCost(stage.cost)],
    ["temperature", stage.temperature === null ? null : temperature(stage)],
    ["layer", stage.layer > 1 ? formatNumber(stage.layer) : null],
    ["hedge", stage.isHedge ? t("traces.yes") : null],
    ["path", stage.path],
  ];
  return factList(pairs.map(([name, value]) => [t(`traces.${name}`), value]));
}

/** Returns a list of `[name, value]`; those whose value is null are left out. */
export function factList(pairs) {
  const known = pairs.filter(([, value]) => value !== null);
  return h(
    "dl",
    { class: "trace-facts" },
    known.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

function failure(stage) {
  return h(
    "div",
    { class: "problem small" },
    h("strong", {}, stage.error.code),
    h("p", {}, stage.error.message),
    stage.attempts.length > 1 &&
      h("p", {}, t("traces.tried", { count: stage.attempts.length, where: instances(stage) })),
  );
}

function verdict(details) {
  const {
    selected_worker: chosen,
    reasoning,
    scores,
    ranking,
    order_shown: shown,
    decisive,
    confidence,
  } = details;
  const names = ranking ?? Object.keys(scores ?? {});
  const best = Math.max(1, ...Object.values(scores ?? {}));
  const rows = names.map((name, place) =>
    h(
      "tr",
      { class: name === chosen ? "selected" : "" },
      h("td", { class: "number" }, place + 1),
      h(
        "th",
        { scope: "row" },
        name,
        name === chosen && h("span", { class: "chip good" }, t("traces.chosen")),
      ),
      h("td", { class: "number" }, scores?.[name] === undefined ? "–" : formatNumber(scores[name])),
      h(
        "td",
        { class: "meter-cell" },
        scores?.[name] !== undefined &&
          h("meter", { min: 0, max: best, value: scores[name], "aria-label": name }),
      ),
    ),
  );
  const head = ["place", "stage", "score"].map((name) =>
    h("th", { scope: "col", class: name === "stage" ? "" : "number" }, t(`traces.${name}`)),
  );
  return part(
    "verdict",
    reasoning && h("p", { class: "text" }, reasoning),
    (decisive || typeof confidence === "number") &&
      h(
        "p",
        { class: "row" },
        decisive && h("span", { class: "chip good" }, t("traces.decisive")),
        typeof confidence === "number" &&
          h("span", { class: "chip" }, t("traces.confidence", { percent: Math.round(confidence * 100) })),
      ),
    rows.length > 0 &&
      h("table", { class: "small" }, h("thead", {}, h("tr", {}, head, h("td", {}))), h("tbody", {}, rows)),
    shown && h("p", { class: "faint small" }, t("traces.shownInOrder", { names: shown.join(", ") })),
  );
}

function toolCall(call) {
  return h(
    "div",
    { class: "tool-call" },
    h("strong", { class: "mono" }, call.name),
    h("pre", { class: "mono" }, pretty(call.arguments)),
  );
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // a model may write what is no JSON
  }
}

function others(details) {
  const rest = Object.fromEntries(
    Object.entries(details).filter(([name]) => name !== "analysis" && !JUDGED.includes(name)),
  );
  return Object.keys(rest).length > 0 && part("details", json(rest));
}

function json(value) {
  return h("pre", { class: "mono json" }, JSON.stringify(value, null, 2));
}

function part(name, ...children) {
  const title = hasText(`traces.${name}`) ? t(`traces.${name}`) : name;
  return h("div", { class: "part" }, h("h3", {}, title), children);
}
