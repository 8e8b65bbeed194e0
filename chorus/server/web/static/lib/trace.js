// A kept trace as a `Run`, and what its waterfall shows. Pure functions: no DOM, no texts.
//
// Times in a trace: `started_ms` since the run began; `first_token_ms`, `duration_ms` since the stage did.

import { Run } from "./run.js";

const FIELDS = new Set([
  "name",
  "model",
  "instance_id",
  "instances",
  "status",
  "started_ms",
  "first_token_ms",
  "duration_ms",
  "attempts",
  "temperature",
  "temperature_source",
  "usage",
  "cost",
  "error",
  "layer",
  "hedge",
  "queue_ms",
  "response",
  "response_reasoning",
  "tool_calls",
  "nested",
  "passes",
  "picked",
]);
const UNHAPPY = new Set(["failed", "timeout", "fallback"]);
const STEPS_MS = [
  ...[0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000],
  ...[60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 86_400_000],
];

/** Returns the run of a kept trace, with the same stages as that of its events. */
export function runFromTrace(trace) {
  const run = new Run();
  for (const event of eventsOf(trace)) run.apply(event);
  return run;
}

/** Returns the events, without deltas, that a run had of which `trace` is the trace. */
export function eventsOf(trace) {
  const events = [];
  for (const kind of ["recall", "memorize"])
    if (trace[kind]) events.push(...stageEvents(kind, kind, trace[kind]));
  events.push(...flowEvents("", trace, trace.answers?.[0]?.text));
  const begin = {
    type: "run.started",
    run_id: trace.workflow_id,
    request_id: trace.request_id,
    model: trace.workflow,
    workflow: trace.workflow,
    started_at: trace.started_at,
    notes: trace.notes,
  };
  // a stage stands before those below it, which may have begun in the same instant
  events.sort(
    (one, other) =>
      one.at_ms - other.at_ms || (one.type === other.type ? 0 : one.type === "stage.started" ? -1 : 1),
  );
  const picked = (trace.routes ?? []).map((route) => ({ type: "workers.picked", ...route }));
  const end = runEnd(trace);
  return end ? [begin, ...picked, ...events, end] : [begin, ...picked, ...events];
}

/** Returns the events of a workflow, whose synthesizer, if it has one, wrote `answer`. */
function flowEvents(path, flow, answer) {
  const at = (name) => (path ? `${path}/${name}` : String(name));
  const events = [];
  if (flow.analyzer) events.push(...stageEvents(at("analyzer"), "analyzer", flow.analyzer));
  flow.workers.forEach((worker, index) => events.push(...stageEvents(at(index), "worker", worker, index)));
  if (flow.selector) events.push(...stageEvents(at("selector"), "selector", flow.selector));
  if (flow.synthesizer)
    events.push(
      ...stageEvents(at("synthesizer"), "synthesizer", { response: answer, ...flow.synthesizer }),
    );
  return events;
}

function stageEvents(path, kind, stage, index = 0) {
  const begin = {
    type: "stage.started",
    path,
    stage: kind,
    at_ms: stage.started_ms,
    name: stage.name,
    model: stage.model,
    index,
    layer: stage.layer,
    is_group: Boolean(stage.nested ?? stage.passes),
    is_hedge: stage.hedge,
    temperature: stage.temperature,
    temperature_source: stage.temperature_source,
  };
  const below = stage.nested
    ? flowEvents(path, stage.nested, stage.response)
    : (stage.passes ?? []).flatMap((pass, number) => stageEvents(`${path}/${number}`, kind, pass, number));
  return stage.status === "running" ? [begin, ...below] : [begin, ...below, stageEnd(path, stage)];
}

function stageEnd(path, stage) {
  const end = stage.started_ms + stage.duration_ms;
  const attempts = stage.instances ?? Array(stage.attempts).fill(stage.instance_id ?? "");
  const event = {
    type: "stage.finished",
    path,
    at_ms: end,
    status: stage.status,
    attempts,
    queue_ms: stage.queue_ms,
    usage: stage.passes ? null : stage.usage,
    cost: stage.cost,
    error: stage.error,
    details: Object.fromEntries(Object.entries(stage).filter(([name]) => !FIELDS.has(name))),
    answer: { text: stage.response, reasoning: stage.response_reasoning, tool_calls: stage.tool_calls },
  };
  if (stage.first_token_ms !== null) event.first_token_at_ms = stage.started_ms + stage.first_token_ms;
  return event;
}

function runEnd(trace) {
  if (trace.status === "running") return null;
  const over = { at_ms: trace.duration_ms, usage: trace.usage, cost: trace.cost };
  if (trace.status === "failed" || trace.status === "cancelled") {
    return { type: "run.failed", status: trace.status, error: trace.errors.at(-1), ...over };
  }
  return {
    type: "run.finished",
    ...over,
    answers: trace.answers ?? [],
    calls: trace.calls ?? null,
    shortcuts: trace.shortcuts,
    first_token_at_ms: trace.first_token_ms ?? undefined,
  };
}

/** Returns how a run did: `ok`, `degraded` (a stage failed), `failed`, `cancelled` or `running`. */
export function statusOf(run) {
  if (run.state !== "completed") return run.state;
  const stages = [...run.stages.values()].filter((stage) => stage.stage !== "memorize");
  return stages.some((stage) => UNHAPPY.has(stage.status)) ? "degraded" : "ok";
}

/** Returns how many calls of models a run made or tried: one for each attempt of a stage that has a model. */
export function callsOf(run) {
  if (run.calls !== null) return run.calls;
  return [...run.stages.values()].filter((stage) => stage.usage !== null).length;
}

/** Returns the worker whose answer won below `path`, or null: with one worker there is nothing to win. */
export function winnerOf(run, path = "") {
  const workers = run.workers(path);
  if (workers.length < 2) return null;
  const chosen = run.the("selector", path)?.details.selected_worker;
  if (chosen !== undefined) return workers.findLast((worker) => worker.name === chosen) ?? null;
  const good = workers.filter((worker) => worker.status === "ok" && run.isOver);
  if (good.length === 1) return good[0];
  return (
    good.find((worker) => worker.text !== "" && path === "" && worker.text === run.answer.text) ?? null
  );
}

/** Returns the texts of the final answer, where the run or a stage of it holds it. */
export function answerOf(run) {
  if (run.answer.text || run.answer.toolCalls.length) return run.answer;
  const last = run.the("synthesizer") ?? winnerOf(run) ?? run.workers().at(0);
  return last ?? run.answer;
}

/** Returns the milliseconds that the waterfall of a run spans: to its end, or to `nowMs` while it goes on. */
export function spanOf(run, nowMs = 0) {
  const ends = [...run.stages.values()].map((stage) => stage.endMs ?? nowMs);
  return Math.max(1, run.endMs ?? nowMs, ...ends);
}

/**
 * Returns the rows of a waterfall: `{stage, depth, isWinner, isCritical}`, a stage before those below it,
 * siblings by their beginnings; the workers of a layer stand together, by their places.
 */
export function rowsOf(run, nowMs = 0) {
  const critical = criticalPath(run, nowMs).paths;
  const rows = [];
  const visit = (path, depth) => {
    const winner = winnerOf(run, path);
    for (const stage of inOrder(run.below(path))) {
      rows.push({ stage, depth, isWinner: stage === winner, isCritical: critical.has(stage.path) });
      visit(stage.path, depth + 1);
    }
  };
  visit("", 0);
  return rows;
}

function inOrder(stages) {
  const begins = (stage) =>
    stage.stage === "worker"
      ? Math.min(...stages.filter(besides(stage)).map((other) => other.startMs))
      : stage.startMs;
  const keyed = stages.map((stage) => [begins(stage), stage]);
  keyed.sort(([one, stage], [other, next]) => one - other || stage.index - next.index);
  return keyed.map(([, stage]) => stage);
}

/** Returns what says whether a stage is a worker of the same layer as the worker `stage`. */
function besides(stage) {
  return (other) => other.stage === "worker" && other.layer === stage.layer;
}

/**
 * Returns the longest chain of stages that waited for each other, `{ms, paths}`: backwards from the end,
 * each stage waits for the last one before it that had ended when it began. Workers of a layer do not wait
 * for each other, except a hedge.
 */
export function criticalPath(run, nowMs = 0, path = "") {
  let open = run.below(path).filter((stage) => stage.stage !== "memorize");
  const paths = new Set();
  let ms = 0;
  let horizon = Infinity;
  const end = (stage) => stage.endMs ?? nowMs;
  for (;;) {
    open = open.filter((stage) => end(stage) <= horizon && !paths.has(stage.path));
    if (!open.length) return { ms, paths };
    const last = open.reduce((one, other) =>
      end(other) > end(one) || (end(other) === end(one) && other.startMs < one.startMs) ? other : one,
    );
    paths.add(last.path);
    const inner = criticalPath(run, nowMs, last.path);
    for (const below of inner.paths) paths.add(below);
    ms += inner.paths.size ? inner.ms : end(last) - last.startMs;
    horizon = last.startMs;
    if (last.stage === "worker" && !last.isHedge) open = open.filter((stage) => !besides(last)(stage));
  }
}

/** Returns the times of an axis, at most `most` of them, from 0 and not beyond `spanMs`. */
export function ticksOf(spanMs, most = 7) {
  const step =
    STEPS_MS.find((size) => spanMs / size < most) ??
    STEPS_MS.at(-1) * Math.ceil(spanMs / STEPS_MS.at(-1) / most);
  return Array.from({ length: Math.floor(spanMs / step) + 1 }, (_, index) => index * step);
}

/** Returns where a time from `startMs` to `endMs` lies on an axis of `spanMs`: `{left, width}` in percent. */
export function placeOf(startMs, endMs, spanMs) {
  const percent = (ms) => Math.min(100, Math.max(0, (ms / spanMs) * 100));
  const left = percent(startMs);
  return { left, width: Math.max(0, percent(endMs) - left) };
}

/** Returns how long a stage waited for a slot; 0 below 1 ms, which is no queue, as in a trace. */
export function queueOf(stage) {
  return stage.queueMs >= 1 ? stage.queueMs : 0;
}

/** Returns the parts of a stage's bar: `{kind, startMs, endMs}`; kind is `queue`, `wait` or `write`. */
export function partsOf(stage, nowMs = 0) {
  const end = stage.endMs ?? nowMs;
  const sent = Math.min(end, stage.startMs + queueOf(stage));
  const written = Math.min(end, Math.max(sent, stage.firstTokenMs ?? end));
  const parts = [
    { kind: "queue", startMs: stage.startMs, endMs: sent },
    { kind: "wait", startMs: sent, endMs: written },
    { kind: "write", startMs: written, endMs: end },
  ];
  return parts.filter((part) => part.endMs > part.startMs);
}
