// A workflow drawn: its stages from left to right, the workers of a layer below each other, nested ones within.

import { h, setProperties } from "../lib/dom.js";
import { formatCost, formatMs, formatNumber } from "../lib/format.js";
import { hasText, t } from "../lib/i18n.js";
import { seriesColor } from "../lib/stages.js";

/** Returns the drawing of the node `root` of an outline; `stages` are the estimates of explain. */
export function drawing(root, stages) {
  const costs = new Map(stages.map((stage) => [stage.path, stage]));
  const isFlow = root.kind === "workflow";
  return h("div", { class: "drawing scroll", tabindex: "0", role: "group", "aria-label": t("workflows.drawing") }, isFlow ? flow(root, costs) : node(root, 0, costs));
}

function flow(root, costs) {
  const columns = [];
  const { analyzer, layers, selector, synthesizer, shortcuts } = root;
  if (analyzer) columns.push(column(t("stage.analyzer"), [node(analyzer, null, costs)]));
  for (const [number, workers] of layers.entries()) {
    const title = layers.length > 1 ? t("workflows.layer", { number: number + 1 }) : t("workflows.workers");
    columns.push(column(title, workers.map((worker) => node(worker, Number(worker.path.split("/").at(-1)), costs))));
  }
  if (selector) columns.push(column(t("stage.selector"), [node(selector, null, costs)]));
  if (synthesizer) columns.push(column(t("stage.synthesizer"), [node(synthesizer, null, costs)]));
  return [h("ol", { class: "flow" }, columns), shortcuts && rules(shortcuts)];
}

function column(title, nodes) {
  return h("li", { class: "column" }, h("h3", {}, title), h("ul", {}, nodes));
}

/** One node: a model, a nested workflow, or a registered kind. `place` gives a worker its color. */
function node(root, place, costs) {
  if (root.kind === "workflow") {
    return h("li", { class: "node nested" }, h("h3", {}, root.name), flow(root, costs));
  }
  const box = h(
    "li",
    { class: "node" },
    h("strong", {}, root.name),
    root.kind !== "model" && h("span", { class: "chip" }, root.kind),
    named(root),
    h("ul", { class: "limits faint small" }, limits(root, costs.get(root.path)).map((text) => h("li", {}, text))),
  );
  return place === null ? box : setProperties(box, { "--series": seriesColor(place) });
}

function named(root) {
  const models = root.models ?? [root.model];
  const others = models.filter((model) => model && model !== root.name);
  return others.length ? h("span", { class: "faint small" }, others.join(", ")) : null;
}

/** What a node is held to, each in a few words. */
function limits(root, stage) {
  const texts = [];
  if (root.temperature_source) texts.push(temperature(root));
  if (root.timeout_secs) texts.push(t("workflows.limit.time", { time: formatMs(root.timeout_secs * 1000) }));
  if (root.max_tokens) texts.push(t("workflows.limit.tokens", { count: formatNumber(root.max_tokens) }));
  if (root.passes > 1) texts.push(t("workflows.limit.passes", { count: root.passes }));
  if (root.length_effect !== undefined) texts.push(t("workflows.limit.length", { points: root.length_effect }));
  if (root.samples) texts.push(t("workflows.limit.samples", { percent: Math.round(root.samples.confidence * 100) }));
  if (stage && stage.cost !== null) texts.push(t("workflows.limit.cost", { cost: formatCost(stage.cost) }));
  return texts;
}

function temperature({ temperature: value, temperature_source: source }) {
  if (source === "analyzer") return t("workflows.temperature.analyzer");
  if (value === null) return t("workflows.temperature.none");
  return t("workflows.temperature", { value, source: t(`workflows.source.${source}`) });
}

/** The rules that leave out work, or add a call, in sentences. */
function rules(shortcuts) {
  const texts = Object.entries(shortcuts).flatMap(([name, rule]) => sentence(name, rule));
  return h("ul", { class: "rules" }, texts.map((text) => h("li", {}, text)));
}

function sentence(name, rule) {
  if (name === "difficulty") {
    return Object.entries(rule).map(([difficulty, model]) => t("workflows.rule.difficulty", { difficulty, model }));
  }
  if (name === "hedge") return [t("workflows.rule.hedge", { secs: rule.after_secs, model: rule.to ?? t("workflows.rule.itself") })];
  if (name === "quorum") return [t("workflows.rule.quorum", { min: rule.min, secs: rule.grace_secs })];
  if (name === "agreement") return [t("workflows.rule.agreement", { threshold: rule.threshold })];
  return hasText(`workflows.rule.${name}`) ? [t(`workflows.rule.${name}`)] : [name];
}
