// Rows of the list of traces, from summaries of traces and from live runs, and their filter. No DOM here.

/** Returns the row of a trace, or of its summary. */
export function rowOfTrace(trace) {
  const chosen = trace.selector?.selected_worker ?? null;
  const workers = trace.workers.map(({ name, status }) => ({ name, status, isWinner: name === chosen }));
  return {
    id: trace.workflow_id,
    startedAt: new Date(trace.started_at),
    status: trace.status,
    name: trace.workflow,
    workers,
    durationMs: trace.duration_ms,
    firstTokenMs: trace.first_token_ms ?? null,
    tokens: trace.usage.total_tokens,
    isEstimated: trace.usage.estimated ?? false,
    cost: trace.cost,
    shortcuts: trace.shortcuts,
    error: trace.errors.at(-1)?.message ?? null,
    isLive: false,
  };
}

/** Returns the row of a run as `api/v1/runs` lists it, which knows less than a trace. */
export function rowOfRun(run) {
  return {
    id: run.id,
    startedAt: new Date(run.started_at),
    status: run.state === "completed" ? "ok" : run.state,
    name: run.workflow ?? run.model,
    workers: null,
    durationMs: run.duration_ms,
    firstTokenMs: null,
    tokens: run.tokens,
    isEstimated: isLive(run),
    cost: undefined,
    shortcuts: null,
    error: run.error?.message ?? null,
    isLive: isLive(run),
  };
}

/** Returns whether a run that `api/v1/runs` lists goes on. */
export function isLive(run) {
  return run.state === "running" || run.state === "queued";
}

/** Returns whether `row` is what the filter `{status, workflow, min, id}` wants; `min` is in seconds. */
export function isWanted(row, { status, workflow, min, id }) {
  return (
    (!status || row.status === status) &&
    (!workflow || row.name === workflow) &&
    (!(Number(min) > 0) || row.durationMs >= Number(min) * 1000) &&
    (!id || row.id.includes(id))
  );
}
