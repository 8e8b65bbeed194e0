// The head of a trace: how the run did, in figures and sentences.

import { h } from "../lib/dom.js";
import { formatCost, formatMs, formatNumber, formatTime, formatTokens } from "../lib/format.js";
import { hasText, t } from "../lib/i18n.js";
import { callsOf, criticalPath, statusOf } from "../lib/trace.js";
import { factList } from "./stage_detail.js";
import { stateText } from "./stage_words.js";
import { toneOf } from "./waterfall.js";

/** Returns the figures of a run, its shortcuts, notes and errors. */
export function runSummary(run, nowMs) {
  return h(
    "section",
    { class: "run-summary panel", "aria-label": t("traces.summary") },
    factList([
      [t("traces.status"), h("span", { class: `chip ${toneOf(statusOf(run))}` }, stateText(statusOf(run)))],
      [t("traces.time"), run.startedAt ? formatTime(run.startedAt) : null],
      [t("traces.duration"), formatMs(run.endMs ?? nowMs)],
      [t("traces.critical"), formatMs(criticalPath(run, nowMs).ms)],
      [t("traces.first"), formatMs(run.firstTokenMs)],
      [t("traces.calls"), formatNumber(callsOf(run))],
      [t("traces.tokens"), run.usage ? formatTokens(run.usage.total_tokens, run.usage.estimated) : "–"],
      [t("traces.cost"), run.isOver ? formatCost(run.cost) : "–"],
    ]),
    run.shortcuts.length > 0 &&
      h(
        "ul",
        { class: "remarks" },
        run.shortcuts.map((one) => h("li", {}, shortcutText(one))),
      ),
    run.routes.length > 0 &&
      h(
        "ul",
        { class: "remarks", "aria-label": t("traces.route") },
        run.routes.flatMap((route) => route.workers.map((one) => h("li", {}, pickText(one, route.task_type)))),
      ),
    run.notes.length > 0 &&
      h(
        "ul",
        { class: "remarks", "aria-label": t("traces.notes") },
        run.notes.map((note) => h("li", {}, note)),
      ),
    errors(run),
  );
}

/** Returns why a learned route picked a worker, or did not. */
function pickText({ worker, picked, reason, draw, alpha, beta }, task) {
  const why = hasText(`traces.reason.${reason}`) ? t(`traces.reason.${reason}`) : reason;
  const [drew, a, b] = [draw, alpha, beta].map((number) => number.toFixed(2));
  const known = { worker, reason: why, draw: drew, alpha: a, beta: b };
  return picked ? t("traces.picked", { ...known, task }) : t("traces.unpicked", known);
}

/** Returns what a shortcut was, where, and how many calls it saved. */
export function shortcutText({ name, path, saved_calls: saved }) {
  const what = hasText(`shortcut.${name}`) ? t(`shortcut.${name}`) : name;
  const where = path ? t("traces.at", { path }) : "";
  return [what, where, saved ? t("shortcut.saved", { count: saved }) : ""].filter(Boolean).join(" · ");
}

function errors(run) {
  const failed = [...run.stages.values()].filter((stage) => stage.error !== null);
  const lines = failed.map(
    (stage) => `${stage.name || stage.stage}: ${stage.error.message} (${stage.error.code})`,
  );
  if (run.error) lines.push(`${run.error.message} (${run.error.code})`);
  return (
    lines.length > 0 &&
    h(
      "ul",
      { class: "remarks error", "aria-label": t("traces.errors") },
      lines.map((line) => h("li", {}, line)),
    )
  );
}
