// Quality over cost or time: every panel as a point, the rows of the frontier with their intervals.

import { h, replace, svg } from "../lib/dom.js";
import { language } from "../lib/i18n.js";
import { scale } from "../lib/scale.js";

const HEIGHT = 320;
const [LEFT, RIGHT, TOP, BOTTOM] = [52, 18, 14, 30];
const percent = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 });

/**
 * Returns a figure named `title`. `of` is what the plot is over: a number of a row or of a point, null
 * where it is unknown; `format` makes it text. It is drawn again when its width changes.
 */
export function frontierPlot({ rows, points }, title, of, format) {
  const drawn = rows.map((row, at) => ({ ...row, number: at + 1, x: of(row) })).filter((row) => row.x !== null);
  const dots = points.map((point) => ({ x: of(point), y: point.quality })).filter((point) => point.x !== null);
  const picture = h("div", { class: "picture" });
  let width = 0;
  new ResizeObserver(([{ contentRect }]) => {
    const now = Math.max(Math.round(contentRect.width), 240);
    if (now !== width) replace(picture, plot(drawn, dots, (width = now), title, format));
  }).observe(picture);
  return h("figure", {}, h("figcaption", { class: "small" }, title), picture);
}

function plot(rows, dots, width, title, format) {
  const x = scale([...rows, ...dots].map((one) => one.x), LEFT, width - RIGHT);
  const qualities = [...rows.flatMap(({ quality }) => [quality.low, quality.high]), ...dots.map((dot) => dot.y)];
  const y = scale(qualities, HEIGHT - BOTTOM, TOP, true);
  const marks = rows.map((row) => ({ ...row, tone: toneOf(row.marks), at: [x.at(row.x), y.at(row.quality.mean)] }));
  const labels = labelled(marks.map(({ at }) => at), width);
  return svg(
    "svg",
    { class: "frontier", viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": title },
    y.ticks.filter(isShare).map((tick) => [
      svg("path", { class: "grid", d: `M${LEFT} ${y.at(tick)}H${width - RIGHT}` }),
      svg("text", { x: LEFT - 8, y: y.at(tick) + 4, "text-anchor": "end" }, percent.format(tick)),
    ]),
    ticksOf(x, width).map((tick) => svg("text", { x: x.at(tick), y: HEIGHT - 8, "text-anchor": "middle" }, format(tick))),
    dots.map((dot) => svg("circle", { class: "dot", cx: x.at(dot.x), cy: y.at(dot.y), r: 2 })),
    marks.map((row) => mark(row, y)),
    labels.map(([left, top], at) => svg("text", { class: "label", x: left, y: top }, marks[at].number)),
  );
}

const isShare = (tick) => tick >= 0 && tick <= 1;

/** The ticks that have room. */
function ticksOf({ ticks }, width) {
  return width < 400 ? ticks.filter((_, at) => at % 2 === 0) : ticks;
}

function mark({ name, number, quality, tone, at: [x, mean] }, y) {
  return svg(
    "g",
    { class: `mark ${tone}` },
    svg("title", {}, `${number}. ${name}`),
    svg("path", { class: "interval", d: `M${x} ${y.at(quality.low)}V${y.at(quality.high)}` }),
    svg("path", { class: "shape", d: shapeOf(tone, x, mean) }),
  );
}

/** A place for the number of each mark, where it covers no mark and no other number as far as there is one. */
function labelled(marks, width) {
  const taken = [...marks];
  return marks.map(([x, y]) => {
    const places = [[8, -8], [-16, -8], [8, 18], [-16, 18], [8, -22], [-16, -22]].map(([dx, dy]) => [x + dx, y + dy]);
    const isFree = ([left, top]) =>
      left > LEFT && left < width - 10 && top > 8 && taken.every(([a, b]) => Math.abs(a - left - 4) > 11 || Math.abs(b - top + 4) > 10);
    const [left, top] = places.find(isFree) ?? places[0];
    taken.push([left + 4, top - 4]);
    return [left, top];
  });
}

/** The tone of a row: what it is first of all. */
export function toneOf(marks) {
  return ["recommended", "today", "best_single"].find((name) => marks.includes(name)) ?? "row";
}

/** The outline of a mark. Each kind has its own shape, for readers who do not see colours. */
export function shapeOf(tone, x, y) {
  if (tone === "recommended") return `M${x} ${y - 7}l7 7l-7 7l-7 -7z`;
  if (tone === "today") return `M${x - 5} ${y - 5}h10v10h-10z`;
  if (tone === "best_single") return `M${x} ${y - 6}l6 11h-12z`;
  return `M${x - 5} ${y}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z`;
}
