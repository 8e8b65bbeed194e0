// The filter of the list of traces.

import { h, replace } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { stateText } from "./stage_words.js";

const STATES = ["ok", "degraded", "failed", "cancelled", "running"];

/**
 * Returns `{form, setNames}`. `onChange` is called with `{status, workflow, min, id}` at each change;
 * `setNames` takes the names that the field of the workflow suggests.
 */
export function filterForm(filter, onChange) {
  const options = STATES.map((state) =>
    h("option", { value: state, selected: state === filter.status }, stateText(state)),
  );
  const status = h("select", { id: "filter-status" }, h("option", { value: "" }, t("traces.any")), options);
  const names = h("datalist", { id: "filter-names" });
  const workflow = h("input", {
    id: "filter-workflow",
    list: "filter-names",
    value: filter.workflow,
    spellcheck: "false",
  });
  const min = h("input", {
    id: "filter-min",
    type: "number",
    min: 0,
    step: "any",
    inputmode: "decimal",
    value: filter.min,
  });
  const id = h("input", {
    id: "filter-id",
    type: "search",
    value: filter.id,
    placeholder: "wf_…",
    spellcheck: "false",
  });
  const fields = { status, workflow, min, id };
  const read = () =>
    Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value.trim()]));
  const form = h(
    "form",
    {
      class: "trace-filter",
      role: "search",
      "aria-label": t("traces.filter"),
      oninput: () => onChange(read()),
    },
    Object.entries(fields).map(([name, field]) =>
      h("div", {}, h("label", { for: field.id }, t(`traces.filter.${name}`)), field),
    ),
    names,
  );
  form.addEventListener("submit", (event) => event.preventDefault()); // it has been applied already
  const setNames = (all) =>
    replace(
      names,
      all.map((name) => h("option", { value: name })),
    );
  return { form, setNames };
}
