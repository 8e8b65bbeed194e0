// A small chart of the last minutes: lines or bars, with what they are now as text.

import { h, replace, svg } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { barPath, BIN_SECS, linePath, roundUp } from "../lib/samples.js";

const HEIGHT = 60;

/** `series` are {key, tone, kind, now}: `kind` is "line" or "bar"; `format` makes a number text. */
export class Chart {
  #paths = new Map();
  #values = new Map();
  #scale = h("span", { class: "scale faint small number" });
  #at = h("span", { class: "at faint small" });
  #drawn = [];

  constructor(title, series, format) {
    this.title = title;
    this.series = series;
    this.format = format;
    this.#picture = svg("svg", { class: "chart", preserveAspectRatio: "none", "aria-hidden": "true" });
    for (const { key, tone, kind } of series) {
      const path = svg("path", { class: `${kind} ${tone}` });
      this.#paths.set(key, path);
      this.#picture.append(path);
      this.#values.set(key, h("dd", { class: "number" }));
    }
    this.#cursor = svg("path", { class: "cursor" });
    this.#picture.append(this.#cursor);
    const names = series.map(({ key, tone }) =>
      h("div", {}, h("dt", { class: tone }, h("span", { class: "mark", "aria-hidden": "true" }), t(`kitchen.series.${key}`)), this.#values.get(key)),
    );
    this.#frame = h("div", { class: "plot" }, this.#scale, this.#picture);
    this.element = h("section", { class: "tile panel" }, h("h2", {}, title, this.#at), h("dl", {}, names), this.#frame);
    this.#frame.addEventListener("pointermove", (event) => this.#point(event));
    this.#frame.addEventListener("pointerleave", () => this.#show(null));
  }

  #picture;
  #cursor;
  #frame;

  /** Draws `values`, one list of numbers for each series; `now` are the figures that stand as text. */
  draw(values, now) {
    const most = Math.max(0, ...values.flat().map((number) => number ?? 0));
    const top = roundUp(most);
    this.#drawn = values;
    this.now = now;
    this.#picture.setAttribute("viewBox", `0 0 ${values[0].length} ${HEIGHT}`);
    this.#scale.textContent = this.format(top);
    for (const [at, { key, kind }] of this.series.entries()) {
      const path = kind === "bar" ? barPath(values[at], top, HEIGHT) : linePath(values[at], top, HEIGHT);
      this.#paths.get(key).setAttribute("d", path);
    }
    if (!this.#at.textContent) this.#show(null);
  }

  /** Shows the figures of the time under the pointer. */
  #point(event) {
    const { left, width } = this.#picture.getBoundingClientRect();
    const count = this.#drawn[0]?.length ?? 0;
    const bin = Math.floor(((event.clientX - left) / width) * count);
    this.#show(bin >= 0 && bin < count ? bin : null);
  }

  #show(bin) {
    for (const [at, { key }] of this.series.entries()) {
      const number = bin === null ? this.now?.[at] : this.#drawn[at][bin];
      this.#values.get(key).textContent = number === null || number === undefined ? "–" : this.format(number);
    }
    const secs = bin === null ? 0 : (this.#drawn[0].length - 1 - bin) * BIN_SECS;
    replace(this.#at, bin === null ? "" : t("kitchen.ago", { time: `${Math.floor(secs / 60)}:${String(secs % 60).padStart(2, "0")}` }));
    this.#cursor.setAttribute("d", bin === null ? "" : `M${bin + 0.5} 0V${HEIGHT}`);
  }
}
