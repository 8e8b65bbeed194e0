// A run as the screens show it, made of the events of a feed or of a kept trace. No DOM here.
//
// Times are milliseconds since the run began; null is not known, or not yet.

/** A stage of a run: a worker, the analyzer, the selector, the synthesizer, a nested workflow. */
class Stage {
  constructor(path, fields) {
    this.path = path;
    this.stage = fields.stage;
    this.name = fields.name;
    this.model = fields.model ?? null;
    this.index = fields.index ?? 0;
    this.layer = fields.layer ?? 1;
    this.isGroup = fields.is_group ?? false;
    this.isHedge = fields.is_hedge ?? false;
    this.temperature = fields.temperature ?? null;
    this.temperatureSource = fields.temperature_source ?? null;
    this.startMs = fields.at_ms ?? 0;
    this.queueMs = 0;
    this.firstTokenMs = null;
    this.endMs = null;
    this.status = "running"; // ok, failed, timeout, cancelled, skipped, fallback
    this.attempts = []; // instances, in their order
    this.text = "";
    this.reasoning = "";
    this.toolCalls = [];
    this.usage = null;
    this.cost = null;
    this.error = null; // {code, message}
    this.details = {};
  }

  /** The path of the workflow that the stage belongs to; "" is the run itself. */
  get parent() {
    return this.path.includes("/") ? this.path.slice(0, this.path.lastIndexOf("/")) : "";
  }

  get isOver() {
    return this.status !== "running";
  }
}

export class Run {
  constructor() {
    this.id = null;
    this.requestId = null;
    this.model = null;
    this.workflow = null;
    this.startedAt = null; // Date
    this.state = "running"; // completed, failed, cancelled
    this.endMs = null;
    this.firstTokenMs = null;
    this.stages = new Map(); // by path, in the order of their beginnings
    this.answer = { text: "", reasoning: "", toolCalls: [] }; // the first choice
    this.usage = null;
    this.cost = null;
    this.calls = null;
    this.shortcuts = [];
    this.error = null; // {code, message}
    this.sessionId = null;
    this.notes = [];
    this.routes = []; // what learned routes have picked, and why
  }

  get isOver() {
    return this.state !== "running";
  }

  /** The stages right below `path`, in the order of their beginnings. */
  below(path = "") {
    return [...this.stages.values()].filter((stage) => stage.parent === path);
  }

  /** The one stage of a kind right below `path`, or null. */
  the(kind, path = "") {
    return this.below(path).find((stage) => stage.stage === kind) ?? null;
  }

  /** The workers right below `path`, by their place. */
  workers(path = "") {
    const workers = this.below(path).filter((stage) => stage.stage === "worker");
    return workers.sort((one, other) => one.index - other.index);
  }

  /** Takes one event of a feed in. Returns the stage that it concerns, or null. */
  apply(event) {
    switch (event.type) {
      case "run.started":
        this.id = event.run_id;
        this.requestId = event.request_id;
        this.model = event.model;
        this.workflow = event.workflow;
        this.startedAt = new Date(event.started_at);
        this.notes = event.notes ?? [];
        return null;
      case "stage.started": {
        const stage = new Stage(event.path, event);
        this.stages.set(event.path, stage);
        return stage;
      }
      case "delta":
        return this.#delta(event);
      case "stage.finished":
        return this.#finished(event);
      case "workers.picked":
        this.routes.push(event);
        return null;
      case "run.finished":
        this.state = "completed";
        this.#over(event);
        this.calls = event.calls;
        this.shortcuts = event.shortcuts ?? [];
        this.firstTokenMs ??= event.first_token_at_ms ?? null;
        this.answer = content(event.answers[0] ?? {});
        return null;
      case "run.failed":
        this.state = event.status === "cancelled" ? "cancelled" : "failed";
        this.#over(event);
        this.error = event.error;
        return null;
      default: // a newer server
        return null;
    }
  }

  #delta(event) {
    const stage = this.stages.get(event.path) ?? null;
    if (stage) {
      stage.firstTokenMs ??= event.at_ms;
      append(stage, event);
    }
    if (event.choice === 0) {
      this.firstTokenMs ??= event.at_ms;
      append(this.answer, event);
    }
    return stage;
  }

  #finished(event) {
    const stage = this.stages.get(event.path);
    if (!stage) return null;
    stage.status = event.status;
    stage.endMs = event.at_ms;
    stage.queueMs = event.queue_ms ?? 0;
    stage.firstTokenMs = event.first_token_at_ms ?? stage.firstTokenMs;
    stage.attempts = event.attempts ?? [];
    stage.usage = event.usage ?? null;
    stage.cost = event.cost ?? null;
    stage.error = event.error ?? null;
    stage.details = event.details ?? {};
    if (event.answer) Object.assign(stage, content(event.answer));
    return stage;
  }

  #over(event) {
    this.endMs = event.at_ms;
    this.usage = event.usage ?? null;
    this.cost = event.cost ?? null;
    this.sessionId = event.session_id ?? null;
    for (const stage of this.stages.values()) {
      if (stage.isOver) continue;
      stage.status = "cancelled"; // its end was not written any more
      stage.endMs = event.at_ms;
    }
  }
}

function append(target, event) {
  target.text += event.text ?? "";
  target.reasoning += event.reasoning ?? "";
  for (const piece of event.tool_calls ?? []) {
    const call = (target.toolCalls[piece.index] ??= { name: "", arguments: "" });
    call.name = piece.name || call.name;
    call.arguments += piece.arguments ?? "";
  }
}

function content(answer) {
  return { text: answer.text ?? "", reasoning: answer.reasoning ?? "", toolCalls: answer.tool_calls ?? [] };
}
