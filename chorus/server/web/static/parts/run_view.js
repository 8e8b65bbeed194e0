// One run as it happens: its state, the workers side by side, the verdict, the answer.

import { h, replace } from "../lib/dom.js";
import { formatCost, formatMs, formatTokens } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { address } from "../lib/router.js";
import { TONES, verdictOf } from "../lib/stages.js";
import { fact } from "./card.js";
import { problem } from "./problem.js";
import { StreamedText } from "./streamed_text.js";
import { thumbs } from "./thumbs.js";
import { Verdict } from "./verdict.js";
import { Workers } from "./workers.js";

const DRAW_MS = 30; // between two drawings: every second frame of 60 a second
const CLOCK_MS = 200; // how often the time that has passed is drawn

/** Shows `run` while events are applied to it: call `changed` after each. Drawing waits for the next frame. */
export class RunView {
  #changed = new Set();
  #frame = 0;
  #clock = 0;
  #drawnAt = 0;
  #began = performance.now();
  #showsNames = false;
  #status = "";
  #answer = new StreamedText();
  #head = h("div", { class: "run-head" });
  #facts = h("dl", { class: "facts" });
  #answerHead = h("div", { class: "row" });
  #end = h("div", {});
  #analysis = h("p", { class: "analysis faint", hidden: true });

  /** `onStop`, if given, is what the button Stop does. */
  constructor(run, { onStop = null } = {}) {
    this.run = run;
    this.workers = new Workers(run, "", { showsNames: () => this.#showsNames });
    this.verdict = new Verdict(run, "");
    this.#live = h("p", { class: "hidden", role: "status" });
    this.#stop = onStop && h("button", { class: "danger", onclick: onStop }, t("ask.stop"));
    this.#names = h("button", { class: "quiet", onclick: () => this.#toggleNames() }, t("ask.names.show"));
    this.#answerPanel = h("section", { class: "answer panel", hidden: true }, this.#answerHead, this.#answer.element);
    this.#columns = h("div", { class: "outcome" }, this.verdict.element, this.#answerPanel);
    this.element = h(
      "div",
      { class: "run" },
      this.#live,
      h("div", { class: "run-bar" }, this.#head, this.#facts, h("div", { class: "row" }, this.#names, this.#stop)),
      this.#analysis,
      this.workers.element,
      this.#columns,
      this.#end,
    );
    this.#clock = setInterval(() => this.#drawFacts(), CLOCK_MS);
    this.changed(null);
  }

  #live;
  #thumbs = null;
  #stop;
  #names;
  #answerPanel;
  #columns;

  /** Notes that something of `stage` has changed; null is the run itself. */
  changed(stage) {
    this.#changed.add(stage?.path ?? "");
    if (this.#frame === 0) this.#frame = requestAnimationFrame((now) => this.#drawInTime(now));
  }

  /** Ends what the view does by itself. */
  close() {
    clearInterval(this.#clock);
    cancelAnimationFrame(this.#frame);
  }

  /** Shows why there is no run. */
  fail(error, again) {
    this.close();
    if (this.#stop) this.#stop.hidden = true;
    replace(this.#head, h("span", { class: "chip bad" }, t("state.failed")));
    replace(this.#end, problem(error, again));
  }

  /** Draws when the time has come: text that grows in every frame would take the time of all others. */
  #drawInTime(now) {
    if (now - this.#drawnAt < DRAW_MS && !this.run.isOver) {
      this.#frame = requestAnimationFrame((later) => this.#drawInTime(later));
      return;
    }
    this.#drawnAt = now;
    this.draw();
  }

  /** Draws what has changed. */
  draw() {
    const { run } = this;
    const paths = this.#changed;
    this.#frame = 0;
    this.#changed = new Set();
    this.workers.update(paths.has("") ? null : paths);
    this.verdict.update();
    this.#names.hidden = run.isOver || run.workers().length < 2;
    this.#drawAnalysis();
    this.#drawAnswer();
    this.#announce();
    if (!run.isOver) return;
    this.close();
    if (this.#stop) this.#stop.hidden = true;
    this.#drawFacts();
  }

  #toggleNames() {
    this.#showsNames = !this.#showsNames;
    this.#names.textContent = t(this.#showsNames ? "ask.names.hide" : "ask.names.show");
    this.changed(null);
  }

  #drawFacts() {
    const { run } = this;
    const ms = run.endMs ?? performance.now() - this.#began;
    const calls = run.calls;
    replace(this.#head, h("span", { class: `chip ${TONES[run.state] ?? "pulse"}` }, t(`state.${run.state}`)));
    if (run.id && run.isOver) this.#head.append(h("a", { href: address("traces", run.id) }, t("ask.trace")));
    replace(
      this.#facts,
      fact(t("ask.fact.time"), formatMs(ms)),
      run.firstTokenMs !== null && fact(t("ask.fact.answer"), formatMs(run.firstTokenMs)),
      run.usage && fact(t("ask.fact.total"), formatTokens(run.usage.total_tokens, run.usage.estimated)),
      calls !== null && fact(t("ask.fact.calls"), calls),
      run.isOver && fact(t("ask.fact.cost"), formatCost(run.cost)),
    );
  }

  #drawAnalysis() {
    const analyzer = this.run.the("analyzer");
    if (!analyzer || !this.#analysis.hidden) return;
    const { analysis } = analyzer.details;
    if (!analysis) return;
    this.#analysis.hidden = false;
    const shown = [analysis.task_type, analysis.difficulty].filter(Boolean).join(" · ");
    const temperature = analysis.temperature;
    const parts = [shown, temperature !== null && temperature !== undefined && t("ask.analysis.temperature", { temperature })];
    this.#analysis.textContent = t("ask.analysis", { shown: parts.filter(Boolean).join(" · ") });
  }

  #drawAnswer() {
    const { run } = this;
    const { answer } = run;
    const [worker, ...others] = run.below(); // the answer of a single model needs no card beside it
    const isAlone = worker?.stage === "worker" && !others.length && !worker.reasoning && !worker.error && !worker.isGroup;
    this.workers.element.classList.toggle("alone", isAlone);
    if (run.isOver && run.error && this.#end.childElementCount === 0) {
      this.#end.append(run.state === "cancelled" ? h("p", { class: "faint" }, t("ask.live.cancelled")) : problem(failure(run)));
    }
    if (!answer.text && !answer.toolCalls.length) return;
    if (this.#answerPanel.hidden) {
      this.#answerPanel.hidden = false;
      replace(this.#answerHead, h("h2", {}, t("ask.answer.title")), h("span", { class: "faint small" }, this.#source()));
    }
    this.#answer.grow(answer.text);
    if (!run.isOver) return;
    this.#answer.finish(answer.text);
    replace(
      this.#answerHead,
      h("h2", {}, t("ask.answer.title")),
      h("span", { class: "faint small" }, this.#source()),
      h("span", { class: "spring" }),
      h("button", { class: "quiet", onclick: (event) => copy(event.currentTarget, answer.text) }, t("ask.copy")),
    );
    if (run.id && run.state === "completed") this.#answerPanel.append((this.#thumbs ??= thumbs(run.id)));
    const calls = answer.toolCalls.filter(Boolean);
    if (calls.length) this.#answerPanel.append(...calls.map((call) => h("code", { class: "call" }, `${call.name}(${call.arguments})`)));
    const saved = run.shortcuts.map((shortcut) => shortcutText(shortcut));
    if (saved.length) this.#answerPanel.append(h("ul", { class: "faint small shortcuts" }, saved.map((text) => h("li", {}, text))));
    for (const note of run.notes) this.#answerPanel.append(h("p", { class: "faint small" }, note));
  }

  /** Who has written the words of the answer. */
  #source() {
    const { run } = this;
    const synthesizer = run.the("synthesizer");
    if (synthesizer && ["ok", "running"].includes(synthesizer.status)) return t("ask.answer.synthesizer", { name: synthesizer.name });
    const winner = verdictOf(run)?.winner;
    return winner ? t("ask.answer.winner", { name: winner.name }) : "";
  }

  /** Says what has happened to those who do not see it: when the state changes, never for each token. */
  #announce() {
    const { run } = this;
    const workers = run.workers();
    const done = workers.filter((worker) => worker.isOver).length;
    const winner = verdictOf(run)?.winner;
    let status = t("ask.live.workers", { done, count: workers.length });
    if (winner) status = t("ask.verdict.chosen", { name: winner.name });
    if (run.isOver) status = t(`ask.live.${run.state}`);
    if (status === this.#status) return;
    this.#status = status;
    this.#live.textContent = status;
  }
}

function failure(run) {
  return { status: 0, message: run.error.message, requestId: run.requestId };
}

/** Returns what a shortcut saved, as text. */
export function shortcutText({ name, saved_calls: count }) {
  return t(`shortcut.${name}`) + (count ? ` (${t("shortcut.saved", { count })})` : "");
}

async function copy(button, text) {
  await navigator.clipboard.writeText(text);
  button.textContent = t("ask.copied");
}
