// One run: its figures, its waterfall, the same as a table, and the stage that is selected.
// One that goes on is followed.

import { ApiError, postJson } from "../../lib/api.js";
import { h, replace } from "../../lib/dom.js";
import { t } from "../../lib/i18n.js";
import { findRun, follow, readsTraces, traceOf } from "../../lib/kept.js";
import { address, note } from "../../lib/router.js";
import { answerOf, rowsOf, spanOf } from "../../lib/trace.js";
import { keepFocus } from "../../parts/keep_focus.js";
import { modelText } from "../../parts/model_text.js";
import { problem } from "../../parts/problem.js";
import { rawJson } from "../../parts/raw_json.js";
import { replayForm } from "../../parts/replay_form.js";
import { runSummary } from "../../parts/run_summary.js";
import { stageDetail } from "../../parts/stage_detail.js";
import { stageTable } from "../../parts/stage_table.js";
import { thumbs } from "../../parts/thumbs.js";
import { legend, selectRow, waterfall } from "../../parts/waterfall.js";

const PLACES = ["title", "actions", "summary", "waterfall", "table", "detail", "answer", "raw"];
const REDRAW_MS = 250; // of a run that goes on; its tokens come far more often

/** Shows the run `id`. Returns what ends it. */
export function showOne(main, id, query) {
  const ending = new AbortController();
  const { signal } = ending;
  const view = {
    run: null,
    trace: null,
    events: [],
    selected: query.get("stage"),
    clock: 0,
    timer: null,
    isHeld: false,
  };
  const places = Object.fromEntries(PLACES.map((name) => [name, h("div", { class: `at-${name}` })]));
  replace(
    places.title,
    h("h1", { class: "id-title" }, t("traces.trace")),
    h("code", { class: "faint" }, id),
  );
  replace(main, h("p", { class: "faint", role: "status" }, t("traces.loading")));
  for (const [type, isHeld] of Object.entries({
    pointerdown: true,
    pointerup: false,
    pointercancel: false,
  })) {
    addEventListener(type, () => (view.isHeld = isHeld), { signal, capture: true });
  }
  load();
  return () => {
    ending.abort();
    clearTimeout(view.timer);
  };

  async function load() {
    try {
      const { isLive, ...found } = await findRun(id, signal);
      Object.assign(view, found);
      layOut();
      if (isLive) await followLive();
      else draw();
    } catch (error) {
      if (!signal.aborted)
        replace(main, back(), places.title, problem(error, error instanceof ApiError ? null : load));
    }
  }

  function layOut() {
    const { title, actions, summary, waterfall: chart, table, detail, answer, raw } = places;
    const charts = h("section", { class: "panel", "aria-label": t("traces.waterfall") }, chart, legend());
    const body = h("div", { class: "trace-body" }, charts, detail, answer, table, raw);
    replace(main, back(), h("div", { class: "row trace-head" }, title, actions), summary, body);
  }

  async function followLive() {
    drawActions();
    await follow(id, view.run, {
      signal,
      onEvent: (event) => {
        if (event.type !== "delta") view.events.push(event);
        view.clock = performance.now() - (event.at_ms ?? 0);
        view.timer ??= setTimeout(redraw, REDRAW_MS);
      },
    });
    clearTimeout(view.timer);
    draw();
  }

  function redraw() {
    view.timer = view.run.isOver ? null : setTimeout(redraw, REDRAW_MS);
    if (!view.isHeld) drawCharts(); // a click is lost where its element goes away before the button is up
  }

  function now() {
    return view.run.endMs ?? (view.clock ? performance.now() - view.clock : 0);
  }

  function draw() {
    drawActions();
    drawCharts();
    const text = answerOf(view.run).text;
    const head = h("h2", { id: "answer-title" }, t("traces.final"));
    replace(
      places.answer,
      text &&
        h(
          "section",
          { class: "panel", "aria-labelledby": "answer-title" },
          head,
          modelText(text),
          view.run.isOver && thumbs(id, view.trace?.feedback?.at(-1)),
        ),
    );
    replace(places.raw, rawJson(rawValue, `${id}.json`));
  }

  /** Returns the trace; a key that may not read it has the events of its run. */
  async function rawValue() {
    return view.trace ?? (await traceOf(id, signal)) ?? { events: view.events };
  }

  function drawActions() {
    const { run } = view;
    replace(
      places.actions,
      run.model && h("span", { class: "chip" }, run.model),
      !run.isOver && h("button", { class: "danger", onclick: stop }, t("traces.stop")),
      run.isOver && readsTraces() && replayForm(id, run.model, signal),
    );
  }

  async function stop(event) {
    event.target.disabled = true;
    try {
      await postJson(`api/v1/runs/${encodeURIComponent(id)}/cancel`, {}, signal);
    } catch (error) {
      if (!signal.aborted) places.actions.append(problem(error));
    }
  }

  function drawCharts() {
    const nowMs = now();
    const rows = rowsOf(view.run, nowMs);
    const options = { spanMs: spanOf(view.run, nowMs), nowMs, selected: view.selected, onSelect: select };
    replace(places.summary, runSummary(view.run, nowMs));
    const hadFocus = places.waterfall.contains(document.activeElement);
    replace(places.waterfall, waterfall(rows, { ...options, label: t("traces.waterfall") }));
    if (hadFocus) places.waterfall.querySelector('[tabindex="0"]')?.focus({ preventScroll: true });
    keepFocus(places.table, () =>
      replace(places.table, stageTable(rows, { ...options, label: t("traces.stages") })),
    );
    drawDetail(rows);
  }

  function select(path) {
    view.selected = path;
    note("traces", id, { stage: path });
    const rows = rowsOf(view.run, now());
    selectRow(places.waterfall, path, { isFocused: places.waterfall.contains(document.activeElement) });
    const options = { nowMs: now(), selected: path, onSelect: select, label: t("traces.stages") };
    keepFocus(places.table, () => replace(places.table, stageTable(rows, options)));
    drawDetail(rows);
  }

  function drawDetail(rows) {
    const row = rows.find(({ stage }) => stage.path === view.selected);
    if (!row) return replace(places.detail, h("p", { class: "panel faint" }, t("traces.select")));
    const { stage } = row;
    const shown = `${stage.path} ${stage.status} ${stage.text.length}`;
    if (places.detail.dataset.shown === shown) return; // a text that somebody reads stays as it is
    places.detail.dataset.shown = shown;
    replace(places.detail, stageDetail(stage, { nowMs: now(), isWinner: row.isWinner }));
  }
}

/** Returns the way back to the list. */
export function back() {
  return h("p", { class: "small" }, h("a", { href: address("traces") }, `← ${t("traces.back")}`));
}
