// The card of one worker: what it writes while it writes, and how it did.

import { h, replace, setProperties } from "../lib/dom.js";
import { formatCost, formatMs, formatTokens } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { seriesColor, stateOf, TONES } from "../lib/stages.js";
import { StreamedText } from "./streamed_text.js";

/** A worker that is a model. `label` is what it is called until it may be named. */
export class Card {
  #text = new StreamedText();
  #thinking = new StreamedText();
  #head = h("div", { class: "card-head" });
  #notes = h("div", { class: "card-notes" });
  #foot = h("dl", { class: "card-foot" });
  #details;
  #focus;
  #shown = "";

  constructor(stage, label) {
    this.stage = stage;
    this.#details = h(
      "details",
      { class: "thinking", hidden: true },
      h("summary", {}, t("ask.card.thinking")),
      this.#thinking.element,
    );
    this.#focus = h("button", { class: "quiet icon", onclick: () => this.toggle() });
    this.body = h("div", { class: "card-body", role: "group", tabindex: "0" }, h("div", {}, this.#details, this.#text.element, this.#notes));
    this.element = h("li", { class: "card" }, this.#head, this.body, this.#foot);
    setProperties(this.element, { "--series": seriesColor(stage.index) });
    this.label = label;
    this.#drawFocus();
  }

  /** Shows the card alone on the full width, or among the others again. */
  toggle(isFocused = !this.element.classList.contains("focused")) {
    const siblings = this.element.parentElement?.children ?? [];
    for (const sibling of siblings) sibling.classList.remove("focused");
    this.element.classList.toggle("focused", isFocused);
    this.element.parentElement?.classList.toggle("has-focus", isFocused);
    this.#drawFocus();
    if (isFocused) this.element.scrollIntoView({ block: "nearest" });
  }

  /** Shows what is new. `name` is what the worker may be called; `verdict` is {isWinner, place, score} or null. */
  update(name, verdict) {
    const { stage } = this;
    this.#text.grow(stage.text);
    if (stage.reasoning) {
      this.#details.hidden = false;
      if (this.#details.open || stage.isOver) this.#thinking.grow(stage.reasoning);
    }
    if (stage.isOver) this.#text.finish(stage.text);
    const key = JSON.stringify([name, verdict, stateOf(stage), stage.status, stage.toolCalls.length]);
    if (key === this.#shown) return;
    this.#shown = key;
    this.label = name;
    this.element.classList.toggle("writing", stateOf(stage) === "writing");
    this.element.classList.toggle("over", stage.isOver);
    this.element.classList.toggle("winner", verdict?.isWinner === true);
    this.#drawHead(name, verdict);
    this.#drawNotes();
    this.#drawFoot(verdict);
    this.#drawFocus();
  }

  #drawHead(name, verdict) {
    const state = stateOf(this.stage);
    const hadFocus = document.activeElement === this.#focus;
    replace(
      this.#head,
      h("span", { class: "dot", "aria-hidden": "true" }),
      h("h3", { title: name }, name),
      this.stage.isHedge && h("span", { class: "chip" }, t("ask.card.hedge")),
      verdict?.isWinner
        ? h("span", { class: "chip good" }, t("ask.card.chosen"))
        : h("span", { class: `chip ${TONES[state] ?? ""}` }, t(`state.${state}`)),
      this.#focus,
    );
    if (hadFocus) this.#focus.focus(); // replacing it took the focus away
  }

  #drawFocus() {
    const isFocused = this.element.classList.contains("focused");
    this.#focus.textContent = isFocused ? "×" : "⤢";
    this.#focus.setAttribute("aria-label", t(isFocused ? "ask.card.unfocus" : "ask.card.focus", { name: this.label }));
    this.#focus.setAttribute("aria-pressed", isFocused);
    this.body.setAttribute("aria-label", this.label);
  }

  #drawNotes() {
    const { stage } = this;
    replace(
      this.#notes,
      stage.toolCalls.filter(Boolean).map((call) => h("code", { class: "call" }, `${call.name}(${call.arguments})`)),
      stage.error && h("p", { class: "error" }, stage.error.message),
      stage.attempts.length > 1 && h("p", { class: "faint small" }, t("ask.card.attempts", { count: stage.attempts.length })),
    );
  }

  #drawFoot(verdict) {
    const { stage } = this;
    if (!stage.isOver) {
      replace(this.#foot);
      return;
    }
    const first = stage.firstTokenMs === null ? null : stage.firstTokenMs - stage.startMs;
    const { usage } = stage;
    replace(
      this.#foot,
      fact(t("ask.fact.first"), formatMs(first)),
      fact(t("ask.fact.time"), formatMs(stage.endMs - stage.startMs)),
      usage && fact(t("ask.fact.tokens"), formatTokens(usage.completion_tokens, usage.estimated)),
      stage.cost !== null && fact(t("ask.fact.cost"), formatCost(stage.cost)),
      verdict?.score !== undefined && verdict?.score !== null && fact(t("ask.fact.score"), verdict.score.toFixed(1)),
    );
  }
}

/** Returns a name and its value, for a list of facts. */
export function fact(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", { class: "number" }, value));
}
