// The stages of a run as a table: what the waterfall shows, in words and figures.

import { h } from "../lib/dom.js";
import { formatCost, formatMs, formatNumber } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { queueOf } from "../lib/trace.js";
import { sourceText, stageLabel, stateText } from "./stage_words.js";
import { toneOf } from "./waterfall.js";

const COLUMNS = [
  ["stage", ""],
  ["status", ""],
  ["start", "number"],
  ["queue", "number"],
  ["first", "number"],
  ["duration", "number"],
  ["tokens", "number"],
  ["cost", "number"],
  ["temperature", ""],
  ["model", ""],
  ["instance", ""],
  ["error", ""],
];

/** Returns the table of `rows`. Its buttons call `onSelect` with the path of a stage. */
export function stageTable(rows, { nowMs, selected, onSelect, label }) {
  return h(
    "div",
    { class: "scroll", role: "region", "aria-label": label, tabindex: 0 },
    h(
      "table",
      { class: "stage-table small" },
      h("caption", { class: "hidden" }, label),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          COLUMNS.map(([name, type]) => h("th", { scope: "col", class: type }, t(`traces.${name}`))),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) => tableRow(row, { nowMs, selected, onSelect })),
      ),
    ),
  );
}

function tableRow({ stage, depth, isWinner }, { nowMs, selected, onSelect }) {
  const isSelected = stage.path === selected;
  const button = h(
    "button",
    {
      class: `link depth-${Math.min(depth, 6)}`,
      "aria-pressed": String(isSelected),
      "data-focus": stage.path,
      onclick: () => onSelect(stage.path),
    },
    stageLabel(stage),
  );
  return h(
    "tr",
    { class: isSelected ? "selected" : "", "data-path": stage.path },
    h("th", { scope: "row" }, button, isWinner && h("span", { class: "chip good" }, t("traces.chosen"))),
    h("td", {}, h("span", { class: `chip ${toneOf(stage.status)}` }, stateText(stage.status))),
    h("td", { class: "number" }, formatMs(stage.startMs)),
    h("td", { class: "number" }, queueOf(stage) ? formatMs(queueOf(stage)) : "–"),
    h(
      "td",
      { class: "number" },
      stage.firstTokenMs === null ? "–" : formatMs(stage.firstTokenMs - stage.startMs),
    ),
    h("td", { class: "number" }, formatMs((stage.endMs ?? nowMs) - stage.startMs)),
    h("td", { class: "number" }, tokens(stage.usage)),
    h("td", { class: "number" }, stage.cost === null ? "–" : formatCost(stage.cost)),
    h("td", {}, temperature(stage)),
    h("td", {}, stage.model ?? "–"),
    h("td", {}, instances(stage)),
    h("td", { class: "why" }, stage.error ? stage.error.message : "–"),
  );
}

/** Returns the instances of a stage's attempts in their order, such as `a ×2 → b`. */
export function instances(stage) {
  const runs = [];
  for (const name of stage.attempts) {
    if (runs.at(-1)?.name === name) runs.at(-1).count += 1;
    else runs.push({ name, count: 1 });
  }
  return runs.map(({ name, count }) => (count > 1 ? `${name} ×${count}` : name)).join(" → ") || "–";
}

/** Returns tokens as `7 → 62`, those of the prompt and those written. */
export function tokens(usage) {
  if (!usage) return "–";
  const [read, written] = [usage.prompt_tokens, usage.completion_tokens].map(formatNumber);
  return `${usage.estimated ? "≈" : ""}${read} → ${written}`;
}

/** Returns a temperature with its source. */
export function temperature(stage) {
  if (stage.temperature === null) return "–";
  return t("traces.temperature.of", {
    value: stage.temperature,
    source: sourceText(stage.temperatureSource),
  });
}
