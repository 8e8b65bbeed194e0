// Asks a request of the past again, of another workflow or model, and shows both runs.

import { getJson, postJson } from "../lib/api.js";
import { h, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { go } from "../lib/router.js";

/** Returns the form for the run `id`, which `model` answered. It ends with `signal`. */
export function replayForm(id, model, signal) {
  const choice = h(
    "select",
    { "aria-label": t("traces.againWith"), required: true },
    h("option", { value: model }, model),
  );
  const button = h("button", {}, t("traces.again"));
  const said = h("span", { class: "small", role: "status" });
  const form = h(
    "form",
    { class: "row replay" },
    h("span", { class: "faint small" }, t("traces.againWith")),
    choice,
    button,
    said,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  offer();
  return form;

  async function offer() {
    try {
      const names = (await getJson("v1/models", signal)).data.map((one) => one.id);
      const others = names
        .filter((name) => name !== model)
        .map((name) => h("option", { value: name }, name));
      choice.append(...others);
    } catch {
      // its own model is there all the same
    }
  }

  async function run() {
    button.disabled = true;
    replace(said, t("traces.againRuns"));
    try {
      const { workflow } = await postJson(
        `api/v1/workflows/${encodeURIComponent(id)}/replay`,
        { model: choice.value },
        signal,
      );
      go("traces", id, { with: workflow.workflow_id });
    } catch (error) {
      if (signal.aborted) return;
      button.disabled = false;
      replace(said, h("span", { class: "error" }, error.message));
    }
  }
}
