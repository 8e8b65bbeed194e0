// Kitchen: what the server does now, and did in the last fifteen minutes, from one feed.

import { ApiError, feed } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { formatCost, formatMs, formatNumber, formatShort } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { address } from "../lib/router.js";
import { BIN_SECS, mean, most, Samples, sum } from "../lib/samples.js";
import { Chart } from "../parts/chart.js";
import { problem } from "../parts/problem.js";

const SILENCE_MS = 5_000; // a sample comes each second: a feed that is silent for longer is broken
const MINUTE_BINS = 60 / BIN_SECS;
const LONGEST_WAIT_MS = 10_000; // between two tries to reach the feed
const BREAKER_TONES = { closed: "good", half_open: "warn", open: "bad" };
const perSecond = (numbers) => sum(numbers) / BIN_SECS;
const quantile = (field, name) => (sample) => sample[field]?.[name] ?? null;
const tokens = (sample) => sum(Object.values(sample.models).map((model) => model.completion_tokens));

/** One chart: its series each as [key, tone, kind, number of a sample, fold of a bin]. */
const CHARTS = [
  ["requests", formatRate, [["requests", "s1", "bar", (sample) => sample.requests, perSecond], ["errors", "bad", "bar", (sample) => sample.errors, perSecond]]],
  ["first_token", formatMs, [["p50", "s1", "line", quantile("first_token_ms", "p50"), mean], ["p95", "s2", "line", quantile("first_token_ms", "p95"), most]]],
  ["load", formatNumber, [["live", "s1", "line", (sample) => sample.live_runs, most], ["calls", "s3", "line", (sample) => sample.active_calls, most]]],
  ["queue", formatNumber, [["queued", "s2", "line", (sample) => sample.queued, most]]],
  ["wait", formatMs, [["p50", "s1", "line", quantile("queue_wait_ms", "p50"), mean], ["p95", "s2", "line", quantile("queue_wait_ms", "p95"), most]]],
  ["tokens", formatRate, [["tokens", "s3", "bar", tokens, perSecond]]],
];

/** Shows the screen; returns what ends it. */
export function show(main) {
  const screen = new Kitchen(main);
  screen.run();
  return () => screen.close();
}

class Kitchen {
  #abort = new AbortController();
  #samples = new Samples();
  #frame = 0;
  #state = h("span", { class: "chip", role: "status" });
  #note = h("div", {});
  #charts = CHARTS.map(([name, format, series]) => new Chart(t(`kitchen.chart.${name}`), series.map(([key, tone, kind]) => ({ key, tone, kind })), format));
  #tables = h("div", { class: "tables" });

  constructor(main) {
    replace(
      main,
      h("div", { class: "row" }, h("h1", {}, t("kitchen.title")), this.#state, h("span", { class: "faint small" }, t("kitchen.window"))),
      this.#note,
      h("div", { class: "tiles" }, this.#charts.map((chart) => chart.element)),
      this.#tables,
    );
    this.#say("connecting", "");
  }

  close() {
    this.#abort.abort();
    cancelAnimationFrame(this.#frame);
  }

  /** Reads the feed, and begins again when it breaks off, until the screen is closed. */
  async run() {
    const { signal } = this.#abort;
    for (let wait = 1000; !signal.aborted; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
      const silence = new Silence(SILENCE_MS);
      try {
        for await (const event of feed("api/v1/stats/stream", { signal: AbortSignal.any([signal, silence.signal]) })) {
          silence.restart();
          this.#take(event);
          wait = 1000;
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof ApiError && error.status < 500) {
          replace(this.#note, problem(error));
          return;
        }
      } finally {
        silence.end();
      }
      if (signal.aborted) return;
      this.#say("away", "warn");
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  #take({ type, data }) {
    if (type === "history") {
      this.#samples.clear();
      this.#samples.add(data.samples);
    } else if (type === "sample") {
      this.#samples.add([data]);
    } else {
      return;
    }
    this.#say("live", "good");
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #say(state, tone) {
    const text = t(`kitchen.state.${state}`);
    if (this.#state.textContent === text) return; // said once to those who listen
    this.#state.className = `chip ${tone}`;
    this.#state.textContent = text;
  }

  #draw() {
    this.#frame = 0;
    for (const [at, [, , series]] of CHARTS.entries()) {
      const values = series.map(([, , , of, fold]) => this.#samples.series(of, fold));
      this.#charts[at].draw(values, values.map((numbers, place) => current(numbers, series[place][2])));
    }
    replace(this.#tables, models(this.#samples), replicas(this.#samples.newest), errors(this.#samples));
  }
}

/** The figure of now: a rate over the last three bins, else what was known last in the last minute. */
function current(numbers, kind) {
  if (kind === "bar") return mean(numbers.slice(-3).map((number) => number ?? 0));
  return numbers.slice(-MINUTE_BINS).findLast((number) => number !== null) ?? null;
}

/** A signal that is aborted when no event has arrived for `ms` milliseconds. */
class Silence {
  #abort = new AbortController();
  #timer = 0;

  constructor(ms) {
    this.ms = ms;
    this.signal = this.#abort.signal;
    this.restart();
  }

  restart() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#abort.abort(), this.ms);
  }

  end() {
    clearTimeout(this.#timer);
  }
}

function models(samples) {
  const rows = samples.models();
  if (!rows.length) return h("p", { class: "empty panel" }, t("kitchen.empty"), " ", h("a", { href: address("ask") }, t("nav.ask")));
  const numbers = ["calls", "errors", "prompt", "completion", "cost"];
  return h(
    "section",
    { class: "panel" },
    h("h2", {}, t("kitchen.models")),
    table(
      [h("th", {}, t("kitchen.model")), numbers.map((name) => h("th", { class: "number" }, t(`kitchen.column.${name}`)))],
      rows.map((row) => [
        h("th", { scope: "row" }, row.name),
        number(formatNumber(row.calls)),
        number(formatNumber(row.errors), row.errors ? "error" : ""),
        number(formatShort(row.promptTokens)),
        number(formatShort(row.completionTokens)),
        number(row.cost === null ? "–" : formatCost(row.cost)),
      ]),
    ),
  );
}

/** The replicas and their breakers; null for a key that does not see them. */
function replicas(sample) {
  if (!sample?.replicas) return null;
  const queued = (name) => sample.queues?.[name] ?? 0;
  return h(
    "section",
    { class: "panel" },
    h("h2", {}, t("kitchen.replicas")),
    table(
      ["model", "instance", "breaker", "active", "queued"].map((name, at) => h("th", { class: at > 2 ? "number" : "" }, t(`kitchen.column.${name}`))),
      sample.replicas.map((replica) => [
        h("th", { scope: "row" }, replica.model),
        h("td", { class: "mono" }, replica.instance_id),
        h("td", {}, h("span", { class: `chip ${BREAKER_TONES[replica.breaker] ?? ""}` }, t(`kitchen.breaker.${replica.breaker}`))),
        number(formatNumber(replica.active_calls)),
        number(formatNumber(queued(replica.model))),
      ]),
    ),
  );
}

function errors(samples) {
  const rows = samples.errors();
  if (!rows.length) return null;
  return h(
    "section",
    { class: "panel" },
    h("h2", {}, t("kitchen.errors")),
    table(
      [h("th", {}, t("kitchen.column.code")), h("th", { class: "number" }, t("kitchen.column.count"))],
      rows.map(([code, count]) => [h("th", { scope: "row", class: "mono" }, code), number(formatNumber(count))]),
    ),
  );
}

function table(head, rows) {
  const body = rows.map((cells) => h("tr", {}, cells));
  return h("div", { class: "scroll", tabindex: "0", role: "group" }, h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
}

function number(text, tone = "") {
  return h("td", { class: `number ${tone}` }, text);
}

/** A rate: few digits where it is small. */
function formatRate(number) {
  return number >= 100 ? formatShort(number) : `${Number(number.toFixed(number < 10 ? 1 : 0))}`;
}
