// The workers of a workflow side by side, those of nested workflows within them.

import { h, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { letter, mayBeNamed, stateOf, TONES, verdictOf } from "../lib/stages.js";
import { Card } from "./card.js";
import { Verdict } from "./verdict.js";

/** The workers right below `path`. `options.showsNames()` says whether they are named at once. */
export class Workers {
  #items = new Map(); // a Card or a Group by the path of its stage
  #layers = 1;

  constructor(run, path, options) {
    this.run = run;
    this.path = path;
    this.options = options;
    this.element = h("ul", { class: "cards" });
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      for (const item of this.#items.values()) item.toggle?.(false);
    });
  }

  /** Shows what is new of the stages at `paths`; of all of them where it is null. */
  update(paths = null) {
    const { run, path } = this;
    const workers = run.workers(path);
    for (const worker of workers) if (!this.#items.has(worker.path)) this.#add(worker);
    const verdict = verdictOf(run, path);
    const named = this.options.showsNames() || workers.length === 1 || mayBeNamed(run, path);
    for (const worker of workers) {
      const item = this.#items.get(worker.path);
      const isConcerned = paths === null || verdict !== null || paths.has(worker.path);
      if (!isConcerned && !(worker.isGroup && [...paths].some((other) => other.startsWith(`${worker.path}/`)))) continue;
      item.update(named ? worker.name : neutral(worker), verdict?.of(worker) ?? null, paths);
    }
  }

  #add(worker) {
    if (worker.layer > this.#layers) {
      this.#layers = worker.layer;
      this.element.append(h("li", { class: "layer" }, t("ask.layer", { number: worker.layer })));
    }
    const item = worker.isGroup ? new Group(this.run, worker, this.options) : new Card(worker, neutral(worker));
    this.#items.set(worker.path, item);
    this.element.insertBefore(item.element, this.#after(worker)); // they begin in any order
  }

  /** The element of the first worker behind `worker`, or null. */
  #after(worker) {
    const behind = this.run.workers(this.path).find((other) => other.index > worker.index && this.#items.has(other.path));
    return behind ? this.#items.get(behind.path).element : null;
  }
}

/** What a worker is called while somebody chooses among them. */
function neutral(worker) {
  return t("ask.card.neutral", { letter: letter(worker.index) });
}

/** A worker that is a workflow itself: its own workers, and its own verdict. */
class Group {
  #head = h("div", { class: "card-head" });

  constructor(run, stage, options) {
    this.stage = stage;
    this.workers = new Workers(run, stage.path, options);
    this.verdict = new Verdict(run, stage.path);
    this.element = h("li", { class: "group" }, this.#head, this.workers.element, this.verdict.element);
  }

  update(name, verdict, paths) {
    const state = stateOf(this.stage);
    this.element.classList.toggle("winner", verdict?.isWinner === true);
    replace(
      this.#head,
      h("h3", {}, name),
      verdict?.isWinner && h("span", { class: "chip good" }, t("ask.card.chosen")),
      h("span", { class: `chip ${TONES[state] ?? ""}` }, t(`state.${state === "waiting" ? "running" : state}`)),
    );
    this.workers.update(paths);
    this.verdict.update();
  }
}
