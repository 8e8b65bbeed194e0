// Runs as the server has them: those that go on by their feed, those of the past by their trace.

import { ApiError, feed, getJson } from "./api.js";
import { Run } from "./run.js";
import { runFromTrace } from "./trace.js";
import { isLive, isWanted, rowOfRun, rowOfTrace } from "./trace_rows.js";

const RUNS = "api/v1/runs?limit=200";
const AGAIN_MS = 1000; // until a feed that broke is read on

let mayReadTraces = false; // as the last list of runs said; a key of a client sees its own runs only

/** Returns whether the traces of all runs may be read. */
export function readsTraces() {
  return mayReadTraces;
}

/** Returns the runs that go on, as rows. */
export async function liveRows(signal) {
  return (await runsOf(signal)).filter(isLive).map(rowOfRun);
}

async function runsOf(signal) {
  const { runs, reads_traces: readsAll } = await getJson(RUNS, signal);
  mayReadTraces = readsAll;
  return runs;
}

/**
 * Returns `{live, past, hasMore}`, rows of runs: at most `limit` of the past, those that `filter` wants. A
 * key that may not read traces gets its own runs.
 */
export async function listRows(filter, limit, signal) {
  const runs = await runsOf(signal);
  const traces = mayReadTraces ? await tracesOf(filter, limit, signal) : null;
  const wanted = (row) => isWanted(row, filter);
  const live = runs.filter(isLive).map(rowOfRun);
  const past = traces ? traces.map(rowOfTrace) : runs.filter((run) => !isLive(run)).map(rowOfRun);
  const ids = new Set(live.map((row) => row.id));
  return {
    live: live.filter((row) => isWanted(row, { ...filter, min: "" })),
    past: past.filter((row) => wanted(row) && !ids.has(row.id)).slice(0, limit),
    hasMore: traces !== null && traces.length === limit,
  };
}

async function tracesOf({ status, workflow, min, id }, limit, signal) {
  const query = new URLSearchParams({ summary: "true", limit });
  if (status && status !== "running") query.set("status", status);
  if (workflow) query.set("workflow", workflow);
  if (Number(min) > 0) query.set("min_duration_ms", Number(min) * 1000);
  if (id) query.set("id", id);
  return (await getJson(`api/v1/workflows?${query}`, signal)).workflows;
}

/** Returns the trace of a run of the past; null where the key may not read it. Raises ApiError. */
export async function traceOf(id, signal) {
  return mayReadTraces ? getJson(`api/v1/workflows/${encodeURIComponent(id)}`, signal) : null;
}

/**
 * Returns `{run, trace, events, isLive}`: of a run that goes on `run` is empty, to be filled by `follow`.
 * `trace` is null where it is not at hand; `events` are then those of the run, without its deltas. Raises
 * ApiError.
 */
export async function findRun(id, signal) {
  const entry = (await runsOf(signal)).find((run) => run.id === id);
  if (entry && isLive(entry)) return { run: new Run(), trace: null, events: [], isLive: true };
  const trace = await traceOf(id, signal);
  if (trace) return { run: runFromTrace(trace), trace, events: [], isLive: false };
  const run = new Run();
  const events = [];
  await follow(id, run, { signal, onEvent: (event) => event.type !== "delta" && events.push(event) });
  return { run, trace: null, events, isLive: false };
}

/**
 * Fills `run` with its events until it is over; `onEvent` is called after each. A feed that breaks is read
 * on where it was. Raises ApiError.
 */
export async function follow(id, run, { signal, onEvent = () => {} }) {
  let after = 0;
  while (!run.isOver) {
    try {
      for await (const event of feed(`api/v1/runs/${encodeURIComponent(id)}/events?after=${after}`, {
        signal,
      })) {
        if (event.data.sequence_number === undefined) continue; // an error of the feed itself
        after = event.data.sequence_number;
        run.apply(event.data);
        onEvent(event.data);
      }
    } catch (error) {
      if (error instanceof ApiError || signal?.aborted) throw error;
    }
    if (!run.isOver) await pause(AGAIN_MS, signal);
  }
}

/** Returns a run that is over; one that goes on is waited for. Raises ApiError. */
export async function finishedRun(id, signal) {
  const found = await findRun(id, signal);
  if (found.isLive) await follow(id, found.run, { signal });
  return found.run;
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
