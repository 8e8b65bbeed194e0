// The list of runs: those that go on, and those of the past, by a filter that the address holds.

import { getJson } from "../../lib/api.js";
import { h, replace } from "../../lib/dom.js";
import { t } from "../../lib/i18n.js";
import { listRows, liveRows, readsTraces } from "../../lib/kept.js";
import { address, note } from "../../lib/router.js";
import { keepFocus } from "../../parts/keep_focus.js";
import { problem } from "../../parts/problem.js";
import { filterForm } from "../../parts/trace_filter.js";
import { traceTable } from "../../parts/trace_table.js";

const PAGE = 100;
const MOST = 1000; // traces that the server lists at once
const LIVE_MS = 2000;
const TYPING_MS = 250;

/** Shows the list. Returns what ends it. */
export function showList(main, query) {
  const ending = new AbortController();
  const state = {
    filter: filterOf(query),
    limit: PAGE,
    live: [],
    past: [],
    hasMore: false,
    ticked: [],
    turn: 0,
  };
  const timers = { live: null, typing: null };
  const status = h("span", { class: "faint small", role: "status" });
  const body = h("div", { class: "stack" });
  const compare = h("a", { class: "button", "aria-disabled": "true" }, t("traces.compare"));
  const { form, setNames } = filterForm(state.filter, (filter) => {
    state.filter = filter;
    state.limit = PAGE;
    note("traces", "", filter);
    clearTimeout(timers.typing);
    timers.typing = setTimeout(load, TYPING_MS);
  });
  const refresh = h("button", { onclick: () => load() }, t("traces.refresh"));
  replace(
    main,
    h(
      "div",
      { class: "row traces-head" },
      h("h1", {}, t("nav.traces")),
      status,
      h("span", { class: "space" }),
      compare,
      refresh,
    ),
    form,
    body,
  );
  document.addEventListener("visibilitychange", watch, { signal: ending.signal });
  drawCompare();
  load();
  names();
  return () => {
    ending.abort();
    clearTimeout(timers.live);
    clearTimeout(timers.typing);
  };

  async function load() {
    const turn = ++state.turn;
    replace(status, t("traces.loading"));
    try {
      const found = await listRows(state.filter, state.limit, ending.signal);
      if (turn !== state.turn) return;
      Object.assign(state, found);
      draw();
      watch();
    } catch (error) {
      if (ending.signal.aborted || turn !== state.turn) return;
      replace(status);
      replace(body, problem(error, load));
    }
  }

  async function names() {
    try {
      setNames((await getJson("v1/models", ending.signal)).data.map((model) => model.id));
    } catch {
      // the field suggests nothing then
    }
  }

  function watch() {
    clearTimeout(timers.live);
    if (state.live.length && !document.hidden) timers.live = setTimeout(update, LIVE_MS);
  }

  async function update() {
    try {
      const live = new Map((await liveRows(ending.signal)).map((row) => [row.id, row]));
      if (state.live.some((row) => !live.has(row.id))) return load(); // one has ended
      state.live = [...live.values()];
      draw();
    } catch {
      if (ending.signal.aborted) return; // else the server is away for a moment
    }
    watch();
  }

  function draw() {
    const rows = [...state.live, ...state.past];
    const known = t(readsTraces() ? "traces.count" : "traces.countOwn", { count: rows.length });
    if (status.textContent !== known) replace(status, known);
    keepFocus(body, () =>
      replace(
        body,
        rows.length
          ? traceTable(rows, { ticked: state.ticked, onTick: tick })
          : h("p", { class: "empty" }, emptyText()),
        state.hasMore &&
          state.limit < MOST &&
          h(
            "div",
            { class: "row" },
            h("button", { onclick: more, "data-focus": "more" }, t("traces.more")),
          ),
      ),
    );
  }

  function emptyText() {
    return Object.values(state.filter).some(Boolean) ? t("traces.noneWanted") : t("traces.none");
  }

  function more() {
    state.limit = Math.min(MOST, state.limit * 2);
    load();
  }

  function tick(id, isTicked) {
    const others = state.ticked.filter((other) => other !== id);
    state.ticked = isTicked ? [...others, id].slice(-2) : others;
    draw();
    drawCompare();
  }

  function drawCompare() {
    const order = [...state.past].reverse().map((row) => row.id); // the older one first
    const [one, other] = [...state.ticked].sort((a, b) => order.indexOf(a) - order.indexOf(b));
    compare.setAttribute("aria-disabled", String(other === undefined));
    if (other === undefined) compare.removeAttribute("href");
    else compare.href = address("traces", one, { with: other });
    compare.title = other === undefined ? t("traces.tickTwo") : "";
  }
}

function filterOf(query) {
  return Object.fromEntries(
    ["status", "workflow", "min", "id"].map((name) => [name, query.get(name) ?? ""]),
  );
}
