// Ask: a question to a model or workflow, its workers side by side, the verdict, the answer.

import { getJson, postJson } from "../lib/api.js";
import { ask, follow, request, stop } from "../lib/asking.js";
import { h, replace } from "../lib/dom.js";
import { formatCost, formatMs } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { note } from "../lib/router.js";
import { Run } from "../lib/run.js";
import { Composer } from "../parts/composer.js";
import { problem } from "../parts/problem.js";
import { RunView } from "../parts/run_view.js";

const LONGEST_IN_ADDRESS = 2_000; // characters of a question
const DEMO = ["ask.try.sum", "ask.try.handbook", "ask.try.fail"];

/** Shows the screen; returns what ends it. The address may name a model, a question and a run. */
export function show(main, { query }) {
  const screen = new AskScreen(main, query);
  screen.open().catch((error) => screen.isClosed || replace(main, problem(error)));
  return () => screen.close();
}

class AskScreen {
  #turns = [];
  #sessionId;
  #abort = new AbortController();
  #list = h("ol", { class: "turns" });
  isClosed = false;

  constructor(main, query) {
    this.main = main;
    this.query = query;
    this.#sessionId = query.get("session");
  }

  async open() {
    const { data: models } = await getJson("v1/models", this.#abort.signal);
    if (this.isClosed) return;
    const { query } = this;
    const isKnown = models.some(({ id }) => id === query.get("model"));
    const model = isKnown ? query.get("model") : models[0]?.id;
    const run = query.get("run");
    this.composer = new Composer(models, {
      model,
      question: run ? "" : (query.get("q") ?? ""),
      onAsk: (asked) => this.#ask(asked),
      onModel: () => this.#explain(),
    });
    this.#intro = intro(models, (question) => this.#ask({ model: this.composer.model, question, images: [] }));
    this.#intro.hidden = run !== null;
    replace(this.main, h("h1", { class: "hidden" }, t("nav.ask")), this.#intro, this.#list, this.composer.element);
    this.#explain();
    if (run) await this.#reopen(run, model, query.get("q") ?? "");
    else this.composer.text.focus();
  }

  #intro;

  close() {
    this.isClosed = true;
    this.#abort.abort();
    for (const turn of this.#turns) turn.view.close();
  }

  /** Asks a question as the next turn of the conversation. */
  #ask({ model, question, images }) {
    const turn = this.#add({ model, question, images });
    const body = request({ ...turn, turns: this.#turns.slice(0, -1), sessionId: this.#sessionId });
    return this.#perform(turn, (onEvent) => ask(body, onEvent, this.#abort.signal));
  }

  /** Asks the last question again, in a conversation of its own. */
  #again(turn) {
    turn.view.close();
    turn.element.remove();
    this.#turns.pop();
    this.#sessionId = null;
    return this.#ask(turn);
  }

  /** Shows the run that the address names. */
  async #reopen(id, model, question) {
    const turn = this.#add({ model, question, images: [] });
    await this.#perform(turn, (onEvent) => follow(id, onEvent, this.#abort.signal));
  }

  #add({ model, question, images }) {
    this.#intro.hidden = true;
    for (const earlier of this.#turns) fold(earlier, true);
    const turn = { model, question, images, answer: "", run: new Run(), body: h("div", {}) };
    turn.view = new RunView(turn.run, { onStop: () => this.#stop(turn) });
    turn.again = h("button", { class: "quiet", hidden: true, onclick: () => this.#again(turn) }, t("ask.again"));
    turn.unfold = h("button", { class: "quiet", hidden: true, onclick: () => fold(turn, !isFolded(turn)) });
    turn.element = h(
      "li",
      { class: "turn" },
      h(
        "div",
        { class: "question" },
        h("h2", {}, question || t("ask.unknown")),
        images.map((image) => h("img", { src: image.url, alt: image.name })),
        h("p", { class: "faint small row" }, model, turn.again, turn.unfold),
      ),
      turn.body,
    );
    replace(turn.body, turn.view.element);
    this.#turns.push(turn);
    this.#list.append(turn.element);
    turn.element.scrollIntoView({ block: "start" });
    return turn;
  }

  /** Shows the run that `start` begins, until it is over. */
  async #perform(turn, start) {
    this.composer.isBusy = true;
    this.#note(turn);
    try {
      await start((run, stage) => {
        if (turn.run !== run) this.#enter(turn, run);
        if (stage === null) this.#note(turn);
        turn.view.changed(stage);
      });
      turn.answer = turn.run.answer.text;
      this.#sessionId = turn.run.sessionId ?? this.#sessionId;
      this.#note(turn);
    } catch (error) {
      if (!this.isClosed) turn.view.fail(error, null);
    }
    if (this.isClosed) return;
    this.composer.isBusy = false;
    for (const other of this.#turns) other.again.hidden = other !== turn;
  }

  /** Shows the run itself in place of the empty one. */
  #enter(turn, run) {
    turn.view.close();
    turn.run = run;
    turn.view = new RunView(run, { onStop: () => this.#stop(turn) });
    replace(turn.body, turn.view.element);
  }

  async #stop(turn) {
    if (turn.run.id === null) return;
    await stop(turn.run.id).catch((error) => turn.view.fail(error, null));
  }

  /** Keeps in the address what is shown. */
  #note(turn) {
    note("ask", "", {
      model: turn.model,
      q: turn.question.length <= LONGEST_IN_ADDRESS ? turn.question : "",
      run: turn.run.id ?? this.query.get("run"),
      session: this.#sessionId,
    });
  }

  /** Shows what a question to the chosen model would take. */
  async #explain() {
    const { composer } = this;
    try {
      const expected = await postJson("api/v1/explain", { model: composer.model }, this.#abort.signal);
      composer.hint = hint(expected);
    } catch {
      composer.hint = ""; // a question can be asked all the same
    }
  }
}

/** Shows of an earlier turn only its answer, or its workers and verdict, too. */
function fold(turn, isFolded) {
  turn.element.classList.toggle("folded", isFolded);
  turn.unfold.hidden = false;
  turn.unfold.textContent = t(isFolded ? "ask.unfold" : "ask.fold");
  turn.unfold.setAttribute("aria-expanded", !isFolded);
}

function isFolded(turn) {
  return turn.element.classList.contains("folded");
}

function hint({ candidates, calls, worst_case_secs: secs, cost }) {
  const parts = [calls === 1 ? t("ask.hint.one") : t("ask.hint.calls", { candidates, calls })];
  if (secs !== null) parts.push(t("ask.hint.time", { time: formatMs(secs * 1000) }));
  if (cost.estimate !== null) parts.push(t("ask.hint.cost", { cost: formatCost(cost.estimate) }));
  return parts.join(" · ");
}

/** What stands there before anything is asked; with questions to try, where the demo is served. */
function intro(models, onTry) {
  const isDemo = models.some(({ id }) => id === "demo-abacus");
  const tries = DEMO.map((key) => h("li", {}, h("button", { onclick: () => onTry(t(key)) }, t(key))));
  return h(
    "section",
    { class: "intro" },
    h("p", { class: "lead" }, t("ask.intro.title")),
    h("p", { class: "faint" }, t("ask.intro.text")),
    isDemo && h("ul", { class: "tries" }, tries),
  );
}
