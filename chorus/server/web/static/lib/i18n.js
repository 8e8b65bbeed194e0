// The language of the page: that of the browser, or the one chosen here before.

import ask from "../words/ask.js";
import common from "../words/common.js";
import kitchen from "../words/kitchen.js";
import traces from "../words/traces.js";
import tuning from "../words/tuning.js";
import workflows from "../words/workflows.js";

const KEPT = "chorus.language";

/** The languages that there are, each by its own name. */
export const LANGUAGES = { en: "English", zh: "中文" };

export const language = chosen();
const words = Object.assign({}, ...[common, ask, traces, kitchen, workflows, tuning].map((table) => table[language]));

/** Returns the text named `key`; `{name}` in it is replaced by `values.name`. */
export function t(key, values = {}) {
  const text = words[key];
  if (text === undefined) throw new Error(`no text is named ${key}`);
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Returns whether a text is named `key`: names of states and errors come from the server. */
export function hasText(key) {
  return key in words;
}

/** Keeps the language for this browser, and shows the page in it. */
export function setLanguage(code) {
  try {
    localStorage.setItem(KEPT, code);
  } catch {
    // a browser that keeps nothing goes by its own language
  }
  location.reload();
}

function chosen() {
  let kept = null;
  try {
    kept = localStorage.getItem(KEPT);
  } catch {
    // as above
  }
  if (kept in LANGUAGES) return kept;
  return navigator.languages.find((tag) => tag.split("-")[0] in LANGUAGES)?.split("-")[0] ?? "en";
}
