// The frame of the page: the bar with its screens, and the one screen that is shown.

import { askForKey } from "./parts/key.js";
import { problem } from "./parts/problem.js";
import { forgetKey, hasKey, onKeyNeeded } from "./lib/api.js";
import { h, replace } from "./lib/dom.js";
import { LANGUAGES, language, setLanguage, t } from "./lib/i18n.js";
import { address, route } from "./lib/router.js";

const SCREENS = ["ask", "traces", "kitchen", "workflows", "tuning"];
const main = document.getElementById("main");
const bar = document.getElementById("bar");
let close = null;
let shown = 0;

/** Shows the screen that the address names. A screen's `show(main, route)` may return what ends it. */
async function show() {
  const now = route();
  const screen = SCREENS.includes(now.screen) ? now.screen : "ask";
  const turn = ++shown;
  close?.();
  close = null;
  drawBar(screen);
  document.title = `${t(`nav.${screen}`)} · Chorus`;
  replace(main);
  main.className = `screen-${screen}`;
  try {
    const { show: open } = await import(`./screens/${screen}.js`);
    if (turn !== shown) return; // another address in the meantime
    close = open(main, now) ?? null;
  } catch (error) {
    replace(main, problem(error));
  }
}

function drawBar(screen) {
  const links = SCREENS.map((name) =>
    h("a", { href: address(name), "aria-current": name === screen ? "page" : null }, t(`nav.${name}`)),
  );
  const languages = Object.entries(LANGUAGES).map(([code, name]) =>
    h("option", { value: code, selected: code === language }, name),
  );
  replace(
    bar,
    h("a", { class: "brand", href: address("ask") }, h("img", { src: "icon.svg", alt: "", width: 24, height: 24 }), "Chorus"),
    h("nav", { "aria-label": t("nav.label") }, links),
    hasKey() && h("button", { class: "quiet", onclick: leave }, t("key.forget")),
    h(
      "select",
      { class: "quiet", "aria-label": t("nav.language"), onchange: (event) => setLanguage(event.target.value) },
      languages,
    ),
  );
}

function leave() {
  forgetKey();
  location.reload();
}

document.documentElement.lang = language;
const skip = document.getElementById("skip");
skip.textContent = t("nav.skip");
skip.addEventListener("click", (event) => {
  event.preventDefault(); // the hash is the address of a screen
  main.focus();
});
onKeyNeeded(askForKey, () => drawBar(route().screen));
addEventListener("hashchange", show);
show();
