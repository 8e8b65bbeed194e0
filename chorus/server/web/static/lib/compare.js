// Two runs beside each other. No DOM here.

import { callsOf, criticalPath, statusOf } from "./trace.js";

/**
 * Returns the figures of two runs, `{name, one, other, change}`: `change` is the other's less the one's,
 * null where one of them is not known. The names are those of texts `traces.NAME`.
 */
export function figuresOf(one, other) {
  const figures = [
    ["duration", (run) => run.endMs],
    ["critical", (run) => criticalPath(run).ms],
    ["first", (run) => run.firstTokenMs],
    ["calls", (run) => callsOf(run)],
    ["tokens", (run) => run.usage?.total_tokens ?? null],
    ["cost", (run) => run.cost],
  ];
  return figures.map(([name, read]) => figure(name, read(one) ?? null, read(other) ?? null));
}

function figure(name, one, other) {
  return { name, one, other, change: one === null || other === null ? null : other - one };
}

/** Returns whether two runs ended alike, and how each did. */
export function statesOf(one, other) {
  const states = [statusOf(one), statusOf(other)];
  return { one: states[0], other: states[1], isSame: states[0] === states[1] };
}

/**
 * Returns pairs of workers of two runs, `[one, other]`, by model: the first of a model in one run goes
 * with the first of it in the other. A worker without a partner stands with null. Nested workflows go by
 * their names.
 */
export function pairsOf(one, other) {
  const others = leaves(other);
  const pairs = leaves(one).map((stage) => {
    const index = others.findIndex((found) => keyOf(found) === keyOf(stage));
    return [stage, index < 0 ? null : others.splice(index, 1)[0]];
  });
  return [...pairs, ...others.map((stage) => [null, stage])];
}

function leaves(run) {
  const workers = [...run.stages.values()].filter((stage) => stage.stage === "worker" && !stage.isGroup);
  return workers.sort((one, other) => one.path.localeCompare(other.path, "en", { numeric: true }));
}

function keyOf(stage) {
  return stage.model ?? stage.name;
}
