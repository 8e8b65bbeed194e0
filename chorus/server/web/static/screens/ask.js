import { h, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

/** Shows the screen. */
export function show(main) {
  replace(main, h("h1", {}, t("nav.ask")));
}
