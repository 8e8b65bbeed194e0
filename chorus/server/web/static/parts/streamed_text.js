// A text that grows: appended while it streams, rendered once when it is whole.

import { h, replace, setHtml } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { postJson } from "../lib/api.js";

const PIECE = 4_000; // characters of one block: what is laid out again for each piece that comes
const SHOWN_LIVE = 60_000; // characters shown of a text that streams; the rest is shown when it is whole
let rendering = Promise.resolve(); // the server renders one text at a time, and so do we

/** One text of a model. `element` is shown; the texts given to `grow` each begin with the one before. */
export class StreamedText {
  #shown = 0;
  #tail = null;
  #isWhole = false;

  constructor() {
    this.element = h("div", { class: "text plain" });
  }

  /** Shows `text` as far as it has come. */
  grow(text) {
    if (this.#isWhole || text.length <= this.#shown) return;
    if (text.length > SHOWN_LIVE && this.#shown >= SHOWN_LIVE) return;
    const cut = text.slice(this.#shown, SHOWN_LIVE);
    const block = this.#tail;
    if (block && block.data.length + cut.length <= PIECE) block.appendData(cut);
    else this.#append(cut);
    this.#shown += cut.length;
    if (this.#shown >= SHOWN_LIVE) this.element.append(h("p", { class: "faint" }, t("ask.text.more")));
  }

  /** Shows `text`, which is whole, as rendered Markdown; plain as long as that takes, or where it fails. */
  finish(text) {
    if (this.#isWhole) return;
    this.#isWhole = true;
    replace(this.element, text);
    this.element.classList.add("plain");
    if (!text.trim()) return;
    rendering = rendering.then(() => this.#render(text)).catch(() => {}); // plain text is an answer, too
  }

  /** Appends a piece. A long text is split at the end of a line: a block is laid out as a whole. */
  #append(cut) {
    const at = this.#tail && this.#tail.data.length > PIECE ? cut.indexOf("\n") : -1;
    if (this.#tail === null || at >= 0) {
      if (this.#tail) this.#tail.appendData(cut.slice(0, at));
      this.#tail = document.createTextNode(cut.slice(at + 1));
      this.element.append(h("div", {}, this.#tail));
    } else {
      this.#tail.appendData(cut);
    }
  }

  async #render(text) {
    const { html } = await postJson("api/v1/render", { text });
    this.element.classList.remove("plain");
    setHtml(this.element, html);
  }
}
