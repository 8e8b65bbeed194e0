// Tuning: the outcomes of `chorus tune`, each as a table, two plots, sentences, and configurations to copy.

import { getJson } from "../lib/api.js";
import { h, replace, svg } from "../lib/dom.js";
import { formatMs, formatNumber, formatTime } from "../lib/format.js";
import { hasText, language, t } from "../lib/i18n.js";
import { address } from "../lib/router.js";
import { fact } from "../parts/card.js";
import { copyable } from "../parts/copyable.js";
import { frontierPlot, shapeOf, toneOf } from "../parts/frontier.js";
import { problem } from "../parts/problem.js";

const COMMANDS = "chorus eval questions.jsonl --config config.toml\nchorus tune evaluation";
const LONGEST_NAME = 300;
const LEGEND = ["recommended", "best_single", "today", "row"];

/** Shows the screen; returns what ends it. The address names an evaluation. */
export function show(main, { rest }) {
  const abort = new AbortController();
  open(main, rest, abort.signal).catch((error) => abort.signal.aborted || replace(main, problem(error)));
  return () => abort.abort();
}

async function open(main, name, signal) {
  const { folder, data } = await getJson("api/v1/tunings", signal);
  const title = h("h1", {}, t("nav.tuning"));
  if (!data.length && !name) {
    const how = [h("p", {}, t("tuning.none", { folder })), h("p", {}, t("tuning.how")), h("pre", { class: "mono" }, COMMANDS)];
    replace(main, title, h("div", { class: "empty" }, how));
    return;
  }
  const chosen = name || data[0].id;
  const shown = h("section", { class: "tuning stack" });
  replace(main, title, h("div", { class: "split" }, list(data, chosen), shown));
  try {
    draw(shown, await getJson(`api/v1/tunings/${encodeURIComponent(chosen)}`, signal));
  } catch (error) {
    if (!signal.aborted) replace(shown, h("h2", { class: "title" }, chosen), problem(error));
  }
}

function list(data, chosen) {
  const rows = data.map(({ id, modified_at: at }) =>
    h(
      "li",
      {},
      h(
        "a",
        { href: address("tuning", id), "aria-current": id === chosen ? "true" : null },
        id,
        h("span", { class: "faint small" }, formatTime(new Date(at))),
      ),
    ),
  );
  return h("nav", { class: "names", "aria-label": t("tuning.list") }, h("h2", {}, t("tuning.list")), h("ul", {}, rows));
}

function draw(shown, tuning) {
  const { id, rows, questions, compared, possible } = tuning;
  const [warning, ...sentences] = tuning.sentences[language];
  const panels = formatNumber(compared);
  const configuration = h("section", { class: "panel stack", tabindex: -1 });
  replace(
    shown,
    h("h2", { class: "title" }, id),
    h(
      "dl",
      { class: "facts figures" },
      fact(t("tuning.questions"), formatNumber(questions)),
      fact(t("tuning.panels"), possible > compared ? t("tuning.of", { count: panels, possible: formatNumber(possible) }) : panels),
    ),
    warning && h("p", { class: "caution" }, warning),
    table(rows, (row) => {
      configure(configuration, row);
      configuration.focus();
    }),
    rows.length > 0 && plots(tuning),
    sentences.length > 0 && [h("h3", {}, t("tuning.said")), h("ul", { class: "said" }, sentences.map((text) => h("li", {}, text)))],
    configuration,
  );
  const first = rows.find((row) => row.toml && row.marks.includes("recommended")) ?? rows.find((row) => row.toml);
  if (first) configure(configuration, first);
  else configuration.remove();
}

function table(rows, onShow) {
  if (!rows.length) return h("p", { class: "empty panel" }, t("tuning.nothing"));
  const numbers = ["quality", "cost", "p50", "p95", "calls"];
  const heads = numbers.map((name) => h("th", { scope: "col", class: "number" }, t(`tuning.${name}`)));
  return h(
    "div",
    { class: "scroll panel", role: "region", "aria-label": t("tuning.frontier"), tabindex: 0 },
    h(
      "table",
      { class: "frontier-table" },
      h(
        "thead",
        {},
        h("tr", {}, h("th", { scope: "col" }, "#"), h("th", { scope: "col" }, t("tuning.name")), heads, h("th", { scope: "col" }, t("tuning.toml"))),
      ),
      h("tbody", {}, rows.map((row, at) => tableRow(row, at + 1, onShow))),
    ),
  );
}

function tableRow(row, number, onShow) {
  const { mean, low, high } = row.quality;
  const points = (share) => Math.round(100 * share);
  return h(
    "tr",
    { class: row.marks.includes("recommended") ? "chosen" : "" },
    h("td", { class: "number" }, number),
    h(
      "th",
      { scope: "row" },
      h("div", { class: "panel-name", title: row.name }, nameOf(row)),
      row.marks.map((mark) => [h("span", { class: `chip ${mark === "recommended" ? "good" : ""}` }, markText(mark)), " "]),
    ),
    h("td", { class: "number" }, `${(100 * mean).toFixed(1)} % `, h("span", { class: "faint" }, `[${points(low)}, ${points(high)}]`)),
    h("td", { class: "number" }, row.cost_per_1000 === null ? "?" : money(row.cost_per_1000)),
    h("td", { class: "number" }, formatMs(1000 * row.p50)),
    h("td", { class: "number" }, formatMs(1000 * row.p95)),
    h("td", { class: "number" }, row.calls.toFixed(1)),
    h(
      "td",
      {},
      row.toml && h("button", { class: "quiet", "aria-label": t("tuning.toml.show", { name: nameOf(row) }), onclick: () => onShow(row) }, t("tuning.toml")),
    ),
  );
}

function plots(tuning) {
  const byCost = tuning.is_priced
    ? ["tuning.plot.cost", (one) => one.cost_per_1000, money]
    : ["tuning.plot.calls", (one) => one.calls, (calls) => calls.toFixed(1)];
  const points = tuning.points.map(([quality, cost, p50, calls]) => ({ quality, cost_per_1000: cost, p50, calls }));
  const drawn = { rows: tuning.rows, points };
  const tones = LEGEND.filter((tone) => tuning.rows.some(({ marks }) => toneOf(marks) === tone));
  return h(
    "section",
    { class: "panel stack" },
    h("h3", {}, t("tuning.frontier")),
    h(
      "ul",
      { class: "legend small" },
      tones.map((tone) => h("li", {}, sample(tone, shapeOf(tone, 8, 8)), markText(tone))),
      points.length > 0 && h("li", {}, sample("point", "M6 8a2 2 0 1 0 4 0a2 2 0 1 0 -4 0z"), t("tuning.mark.point")),
    ),
    h(
      "div",
      { class: "plots" },
      frontierPlot(drawn, t(byCost[0]), byCost[1], byCost[2]),
      frontierPlot(drawn, t("tuning.plot.time"), (one) => one.p50, (secs) => formatMs(1000 * secs)),
    ),
    h("p", { class: "faint small" }, t("tuning.plot.numbers")),
  );
}

function sample(tone, d) {
  return svg("svg", { class: `mark ${tone}`, viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" }, svg("path", { class: "shape", d }));
}

function configure(section, row) {
  replace(
    section,
    h("h3", {}, t("tuning.configuration")),
    h("p", { class: "panel-name" }, nameOf(row)),
    h("p", { class: "faint small" }, t("tuning.configuration.how")),
    copyable(row.toml, t("tuning.configuration")),
  );
}

/** The name of a row, as far as a table has room for it. */
function nameOf({ name }) {
  return name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME)}…` : name || "–";
}

function markText(mark) {
  return hasText(`tuning.mark.${mark}`) ? t(`tuning.mark.${mark}`) : mark;
}

/** A cost in whatever currency the configured prices are in. */
function money(amount) {
  return amount >= 0.1 || amount === 0 ? amount.toFixed(2) : String(Number(amount.toPrecision(2)));
}
