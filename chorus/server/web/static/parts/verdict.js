// Why an answer won: the judge's choice, its reason, its ranking and its scores.

import { h, replace, setProperties } from "../lib/dom.js";
import { formatMs } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { seriesColor, verdictOf } from "../lib/stages.js";

const FULL_SCORE = 10;

/** The verdict of the workflow at `path`; hidden while there is none. */
export class Verdict {
  #state = null;

  constructor(run, path) {
    this.run = run;
    this.path = path;
    this.element = h("section", { class: "verdict panel", hidden: true });
  }

  /** Shows what is new. */
  update() {
    const selector = this.run.the("selector", this.path);
    if (selector === null || this.#state === selector.status) return;
    this.#state = selector.status;
    this.element.hidden = false;
    const verdict = verdictOf(this.run, this.path);
    replace(this.element, verdict === null ? pending(selector) : decided(this.run, this.path, verdict));
  }
}

function pending(selector) {
  if (!selector.isOver) return h("p", { class: "faint pulse" }, t("ask.verdict.pending", { name: selector.name }));
  return h("p", { class: "error" }, selector.error?.message ?? t("ask.verdict.none"));
}

function decided(run, path, verdict) {
  const { selector, winner } = verdict;
  const ms = selector.endMs - selector.startMs;
  return [
    h("h2", {}, t("ask.verdict.title")),
    h(
      "p",
      { class: "chosen" },
      t("ask.verdict.chosen", { name: winner?.name ?? selector.details.selected_worker }),
      verdict.isDecisive && h("span", { class: "chip good" }, t("ask.verdict.decisive")),
      verdict.confidence !== null && h("span", { class: "chip" }, t("ask.verdict.passes", { share: percent(verdict.confidence) })),
    ),
    verdict.reason && h("blockquote", {}, verdict.reason),
    selector.error && h("p", { class: "error" }, selector.error.message),
    ranking(run, path, verdict),
    notes(verdict),
    h("p", { class: "faint small" }, by(verdict, ms)),
  ];
}

function by({ selector, isJudged, shownAs }, ms) {
  if (!isJudged) return t("ask.verdict.rule");
  const shown = shownAs.map(([label, name]) => `${label} = ${name}`).join(", ");
  return t("ask.verdict.judge", { name: selector.name, time: formatMs(ms) }) + (shown ? ` ${t("ask.verdict.shown", { shown })}` : "");
}

function ranking(run, path, verdict) {
  const workers = run.workers(path);
  const ranked = workers
    .map((worker) => ({ worker, ...verdict.of(worker) }))
    .filter(({ place, score }) => place !== null || score !== null)
    .sort((one, other) => (one.place ?? Infinity) - (other.place ?? Infinity) || (other.score ?? 0) - (one.score ?? 0));
  if (ranked.length === 0) return null;
  const most = Math.max(FULL_SCORE, ...ranked.map(({ score }) => score ?? 0));
  return h(
    "table",
    { class: "ranking" },
    h("caption", { class: "hidden" }, t("ask.verdict.ranking")),
    h(
      "thead",
      {},
      h("tr", {}, h("th", {}, "#"), h("th", {}, t("ask.verdict.worker")), h("th", { colspan: 2 }, t("ask.verdict.score"))),
    ),
    h("tbody", {}, ranked.map((row, at) => rankedRow(row, at + 1, most))),
  );
}

function rankedRow({ worker, isWinner, score }, place, most) {
  const bar = setProperties(h("span", { class: "bar", "aria-hidden": "true" }), {
    "--series": seriesColor(worker.index),
    "--share": `${score === null ? 0 : Math.max(0, (score / most) * 100)}%`,
  });
  return h(
    "tr",
    { class: isWinner ? "winner" : "" },
    h("td", { class: "number" }, place),
    h("th", { scope: "row" }, worker.name),
    h("td", { class: "bars" }, bar),
    h("td", { class: "number" }, score === null ? "–" : score.toFixed(1)),
  );
}

function notes(verdict) {
  return verdict.notes
    .filter(([, lines]) => lines.length > 0)
    .map(([kind, lines]) => [h("h3", {}, t(`ask.verdict.${kind}`)), h("ul", {}, lines.map((line) => h("li", {}, line)))]);
}

function percent(share) {
  return `${Math.round(share * 100)} %`;
}
