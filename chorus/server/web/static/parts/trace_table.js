// The table of runs.

import { h } from "../lib/dom.js";
import { formatCost, formatMs, formatNumber, formatTime } from "../lib/format.js";
import { hasText, t } from "../lib/i18n.js";
import { address } from "../lib/router.js";
import { stateText } from "./stage_words.js";
import { toneOf } from "./waterfall.js";

const COLUMNS = [
  ["time", ""],
  ["status", ""],
  ["workflow", ""],
  ["answered", ""],
  ["duration", "number"],
  ["first", "number minor"],
  ["tokens", "number minor"],
  ["cost", "number minor"],
  ["shortcuts", "minor"],
];

/** Returns the table of `rows`. `onTick(id, isTicked)` is called when somebody marks a run to compare it. */
export function traceTable(rows, { ticked, onTick }) {
  const longest = Math.max(1, ...rows.map((row) => row.durationMs));
  const heads = COLUMNS.map(([name, type]) => h("th", { scope: "col", class: type }, t(`traces.${name}`)));
  return h(
    "div",
    { class: "scroll panel flush", role: "region", "aria-label": t("nav.traces"), tabindex: 0 },
    h(
      "table",
      { class: "trace-table" },
      h(
        "thead",
        {},
        h("tr", {}, h("th", { scope: "col" }, h("span", { class: "hidden" }, t("traces.compare"))), heads),
      ),
      h(
        "tbody",
        {},
        rows.map((row) => tableRow(row, { longest, isTicked: ticked.includes(row.id), onTick })),
      ),
    ),
  );
}

function tableRow(row, { longest, isTicked, onTick }) {
  return h(
    "tr",
    { class: row.isLive ? "is-live" : "", "data-id": row.id },
    h("td", { class: "tick" }, !row.isLive && tick(row, isTicked, onTick)),
    h("td", { class: "time" }, formatTime(row.startedAt)),
    h(
      "td",
      { class: "status" },
      h("span", { class: `chip ${toneOf(row.status)}`, title: row.error }, stateText(row.status)),
    ),
    h(
      "th",
      { scope: "row" },
      h("a", { href: address("traces", row.id), "data-focus": row.id }, row.name),
      h("div", { class: "faint mono id" }, row.id),
    ),
    h("td", { class: "answered" }, answered(row)),
    h(
      "td",
      { class: "number took" },
      formatMs(row.durationMs),
      h("meter", { min: 0, max: longest, value: row.durationMs, "aria-hidden": "true" }),
    ),
    h("td", { class: "number minor" }, formatMs(row.firstTokenMs)),
    h("td", { class: "number minor" }, `${row.isEstimated ? "≈" : ""}${formatNumber(row.tokens)}`),
    h(
      "td",
      { class: "number minor" },
      row.cost === undefined || row.cost === null ? "–" : formatCost(row.cost),
    ),
    h("td", { class: "minor" }, (row.shortcuts ?? []).map(shortcutChip)),
  );
}

function tick(row, isTicked, onTick) {
  return h("input", {
    type: "checkbox",
    checked: isTicked,
    "aria-label": t("traces.tick", { id: row.id }),
    "data-focus": `tick ${row.id}`,
    onchange: (event) => onTick(row.id, event.target.checked),
  });
}

/** Returns who won, of how many, and how many failed. */
function answered({ workers }) {
  if (workers === null) return "–";
  const chosen = workers.find((worker) => worker.isWinner);
  const failed = workers.filter(
    (worker) => worker.status === "failed" || worker.status === "timeout",
  ).length;
  const names = workers.map((worker) => `${worker.name}: ${stateText(worker.status)}`).join("\n");
  const single = workers.length === 1 ? workers[0].name : null;
  const remarks = [
    !single && t(chosen ? "traces.of" : "traces.workers", { count: workers.length }),
    failed > 0 && t("traces.failed", { count: failed }),
  ].filter(Boolean);
  return h(
    "span",
    { title: names },
    chosen && h("strong", {}, chosen.name, " "),
    single && `${single} `,
    h("span", { class: "faint small" }, remarks.join(" · ")),
  );
}

function shortcutChip({ name, saved_calls: saved }) {
  const title = hasText(`shortcut.${name}`) ? t(`shortcut.${name}`) : name;
  const short = hasText(`traces.shortcut.${name}`) ? t(`traces.shortcut.${name}`) : name;
  return h("span", { class: "chip", title }, saved ? `${short} −${formatNumber(saved)}` : short);
}
