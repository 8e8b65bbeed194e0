// What the screens say of stages: states, colors, neutral labels, verdicts. No DOM here.

/** The class of a state's chip. */
export const TONES = { ok: "good", completed: "good", failed: "bad", timeout: "bad", cancelled: "warn", fallback: "warn" };

const COLORS = 8;

/** Returns the color of the worker at `place`, as a token of style/base.css. */
export function seriesColor(place) {
  return `var(--series-${(place % COLORS) + 1})`;
}

/** Returns the state of a stage in more words than its status: whether it waits or writes. */
export function stateOf(stage) {
  if (stage.status !== "running") return stage.status;
  return stage.text || stage.reasoning || stage.toolCalls.length ? "writing" : "waiting";
}

/** Returns `A`, `B`, … `Z`, `AA`: the neutral label of the worker at `place`. */
export function letter(place) {
  const last = String.fromCharCode(65 + (place % 26));
  return place < 26 ? last : letter(Math.floor(place / 26) - 1) + last;
}

/** The verdict of the workflow at `path`, or null while there is none. */
export function verdictOf(run, path = "") {
  const selector = run.the("selector", path);
  if (selector === null || !selector.isOver || selector.details.selected_index === undefined) return null;
  const { details } = selector;
  const workers = run.workers(path);
  const winner = workers.find((worker) => worker.index === details.selected_index) ?? null;
  const places = new Map((details.ranking ?? []).map((name, at) => [name, at + 1]));
  return {
    selector,
    winner,
    reason: details.reasoning ?? "",
    isJudged: selector.status === "ok",
    isDecisive: details.decisive === true,
    confidence: details.confidence ?? null,
    shownAs: (details.order_shown ?? []).map((name, at) => [letter(at), name]),
    notes: ["consensus", "contradictions", "unique"].map((kind) => [kind, details[kind] ?? []]),
    /** How one worker did: {isWinner, place, score}, null where it was no candidate. */
    of(worker) {
      return {
        isWinner: worker === winner,
        place: places.get(worker.name) ?? null,
        score: details.scores?.[worker.name] ?? null,
      };
    },
  };
}

/** Whether the workers of the workflow at `path` may be named: nobody chooses among them any more. */
export function mayBeNamed(run, path = "") {
  return run.isOver || run.workers(path).some((worker) => worker.isGroup) || verdictOf(run, path) !== null;
}
