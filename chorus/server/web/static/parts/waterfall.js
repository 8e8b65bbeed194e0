// The waterfall of a run: a row for each stage, its bar placed in time.

import { h, setProperties } from "../lib/dom.js";
import { formatMs } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { partsOf, placeOf, ticksOf } from "../lib/trace.js";
import { stageLabel, stateText } from "./stage_words.js";

const KINDS = ["queue", "wait", "write", "first", "critical"];
const MOVES = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };

/**
 * Returns the waterfall of `rows` on an axis of `spanMs`; running stages end at `nowMs`. `onSelect` is
 * called with the path of a row; `selected` is the path of the one that is shown, and `label` says whose
 * rows they are.
 */
export function waterfall(rows, { spanMs, nowMs, selected, onSelect, label }) {
  const current = rows.find((row) => row.stage.path === selected) ?? rows[0];
  const list = h(
    "div",
    {
      class: "waterfall-rows",
      role: "listbox",
      "aria-label": label,
      onkeydown: (event) => move(event, onSelect),
    },
    rows.map((row) =>
      rowOf(row, { spanMs, nowMs, isSelected: row.stage.path === selected, isCurrent: row === current }),
    ),
  );
  list.addEventListener("click", (event) => pick(event.target.closest("[role=option]"), onSelect));
  const step = ticksOf(spanMs)[1] ?? spanMs;
  return setProperties(h("div", { class: "waterfall" }, axis(spanMs), list), {
    "--step": `${(step / spanMs) * 100}%`,
  });
}

/** Returns what the marks of a waterfall mean. */
export function legend() {
  return h(
    "ul",
    { class: "waterfall-legend faint small" },
    KINDS.map((kind) =>
      h("li", {}, h("span", { class: `key ${kind}`, "aria-hidden": "true" }), t(`traces.legend.${kind}`)),
    ),
  );
}

/** Shows in `element`, a waterfall, that the row of `path` is selected, and takes the focus there. */
export function selectRow(element, path, { isFocused }) {
  for (const option of element.querySelectorAll("[role=option]")) {
    const isSelected = option.dataset.path === path;
    option.setAttribute("aria-selected", String(isSelected));
    option.tabIndex = isSelected ? 0 : -1;
    if (isSelected && isFocused) option.focus();
  }
}

function axis(spanMs) {
  const ticks = ticksOf(spanMs).map((ms) =>
    setProperties(h("span", { class: "tick" }, h("span", {}, ms === 0 ? "0" : formatMs(ms))), {
      "--left": `${placeOf(ms, ms, spanMs).left}%`,
    }),
  );
  return h("div", { class: "waterfall-axis", "aria-hidden": "true" }, h("div", { class: "track" }, ticks));
}

function rowOf({ stage, depth, isWinner, isCritical }, { spanMs, nowMs, isSelected, isCurrent }) {
  const took = (stage.endMs ?? nowMs) - stage.startMs;
  const classes = ["waterfall-row", `kind-${stage.stage}`, `is-${stage.status}`];
  if (isCritical) classes.push("is-critical");
  if (stage.isGroup) classes.push("is-group");
  const row = h(
    "div",
    {
      class: classes.join(" "),
      role: "option",
      tabindex: isCurrent ? 0 : -1,
      "aria-selected": String(isSelected),
      "data-path": stage.path,
    },
    h(
      "div",
      { class: "name" },
      h("span", { class: "title" }, stageLabel(stage)),
      isWinner && h("span", { class: "chip good" }, t("traces.chosen")),
      stage.status !== "ok" &&
        h("span", { class: `chip ${toneOf(stage.status)}` }, stateText(stage.status)),
      stage.attempts.length > 1 &&
        h("span", { class: "chip warn" }, t("traces.attempts", { count: stage.attempts.length })),
      isCritical && h("span", { class: "hidden" }, t("traces.legend.critical")),
    ),
    h("div", { class: "track" }, bar(stage, spanMs, nowMs), time(stage, took, spanMs, nowMs)),
  );
  return setProperties(row, { "--depth": depth });
}

/** Returns the tone of a chip for a stage that ended so. */
export function toneOf(status) {
  if (status === "failed" || status === "timeout") return "bad";
  if (status === "fallback" || status === "degraded") return "warn";
  return status === "ok" ? "good" : "";
}

function bar(stage, spanMs, nowMs) {
  const place = (element, from, to) => {
    const { left, width } = placeOf(from, to, spanMs);
    return setProperties(element, { "--left": `${left}%`, "--width": `${width}%` });
  };
  const end = stage.endMs ?? nowMs;
  const parts = stage.isGroup
    ? [{ kind: "whole", startMs: stage.startMs, endMs: end }]
    : partsOf(stage, nowMs);
  const marks = parts.map((part) =>
    place(h("span", { class: `part ${part.kind}` }), part.startMs, part.endMs),
  );
  if (stage.firstTokenMs !== null && !stage.isGroup) {
    marks.push(place(h("span", { class: "first" }), stage.firstTokenMs, stage.firstTokenMs));
  }
  return [...marks, place(h("span", { class: "under" }), stage.startMs, end)];
}

/** Returns the duration, behind the bar or, where there is no room, before it. */
function time(stage, took, spanMs, nowMs) {
  const { left, width } = placeOf(stage.startMs, stage.endMs ?? nowMs, spanMs);
  const end = left + width;
  const side = end < 80 ? "behind" : left > 20 ? "before" : "within";
  return setProperties(h("span", { class: `took number ${side}` }, formatMs(took)), {
    "--left": `${left}%`,
    "--end": `${end}%`,
  });
}

function move(event, onSelect) {
  const options = [...event.currentTarget.querySelectorAll("[role=option]")];
  const index = options.indexOf(document.activeElement);
  if (event.key === "Enter" || event.key === " ") pick(options[index], onSelect);
  else if (event.key in MOVES) {
    const next = Math.min(options.length - 1, Math.max(0, index + MOVES[event.key]));
    options[next]?.focus();
    pick(options[next], onSelect);
  } else return;
  event.preventDefault();
}

function pick(option, onSelect) {
  if (option) onSelect(option.dataset.path);
}
