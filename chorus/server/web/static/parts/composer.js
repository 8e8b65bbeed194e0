// Where a question is written: the model or workflow, the text, images.

import { h, replace } from "../lib/dom.js";
import { MOST_IMAGES, readImage } from "../lib/images.js";
import { t } from "../lib/i18n.js";

/** `models` are those of /v1/models; `onAsk` is called with {model, question, images}. */
export class Composer {
  #images = [];
  #previews = h("ul", { class: "previews" });
  #said = h("p", { class: "error small", role: "status" });
  #hint = h("p", { class: "faint small hint" });

  constructor(models, { model, question, onAsk, onModel }) {
    this.onAsk = onAsk;
    this.select = h("select", { id: "model", "aria-label": t("ask.model"), onchange: () => onModel(this.model) }, options(models, model));
    this.text = h("textarea", { rows: 2, "aria-label": t("ask.question"), placeholder: t("ask.placeholder") });
    this.text.value = question;
    this.text.addEventListener("keydown", (event) => {
      // a key that ends the composition of a Chinese word sends nothing
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#ask();
      }
    });
    this.text.addEventListener("paste", (event) => this.#take(event.clipboardData.files));
    this.#file = h("input", { type: "file", accept: "image/*", multiple: true, class: "hidden", tabindex: "-1", "aria-hidden": "true" });
    this.#file.addEventListener("change", () => this.#take(this.#file.files));
    this.#send = h("button", { class: "primary" }, t("ask.send"));
    this.element = h(
      "form",
      { class: "composer panel" },
      this.text,
      this.#previews,
      this.#said,
      h(
        "div",
        { class: "row" },
        this.select,
        h("button", { type: "button", onclick: () => this.#file.click() }, t("ask.image.attach")),
        this.#file,
        this.#hint,
        h("span", { class: "spring" }),
        this.#send,
      ),
    );
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
    this.element.addEventListener("dragover", (event) => event.preventDefault());
    this.element.addEventListener("drop", (event) => {
      event.preventDefault();
      this.#take(event.dataTransfer.files);
    });
  }

  #file;
  #send;

  get model() {
    return this.select.value;
  }

  /** Shows what a question to the model would take. */
  set hint(text) {
    this.#hint.textContent = text;
  }

  /** No question can be sent while another is answered. */
  set isBusy(isBusy) {
    this.#send.disabled = isBusy;
  }

  #ask() {
    const question = this.text.value.trim();
    if (!question || this.#send.disabled) return;
    const images = this.#images;
    this.#images = [];
    this.text.value = "";
    this.#draw();
    this.onAsk({ model: this.model, question, images });
  }

  async #take(files) {
    this.#said.textContent = "";
    for (const file of files) {
      try {
        if (this.#images.length >= MOST_IMAGES) throw new Error("ask.image.many");
        this.#images.push(await readImage(file));
      } catch (error) {
        this.#said.textContent = t(error.message, { count: MOST_IMAGES });
      }
    }
    this.#file.value = "";
    this.#draw();
  }

  #draw() {
    replace(
      this.#previews,
      this.#images.map((image) =>
        h(
          "li",
          {},
          h("img", { src: image.url, alt: image.name }),
          h("button", { type: "button", class: "quiet", "aria-label": t("ask.image.remove", { name: image.name }), onclick: () => this.#remove(image) }, "×"),
        ),
      ),
    );
  }

  #remove(image) {
    this.#images = this.#images.filter((other) => other !== image);
    this.#draw();
  }
}

function options(models, chosen) {
  const of = (kind) => models.filter((model) => (model.kind === "workflow") === (kind === "workflow"));
  return ["workflow", "model"].map((kind) => {
    const names = of(kind).map(({ id }) => h("option", { value: id, selected: id === chosen }, id));
    return names.length ? h("optgroup", { label: t(`ask.models.${kind}`) }, names) : null;
  });
}
