// Names of stages and states, as the screen of traces shows them.

import { hasText, t } from "../lib/i18n.js";

/** Returns what a stage is called: `Judge demo-judge`; a worker by its name alone. */
export function stageLabel(stage) {
  if (stage.stage === "worker") return stage.name;
  const kind = `stage.${stage.stage}`;
  const title = hasText(kind) ? t(kind) : stage.stage;
  return stage.name && stage.name !== stage.stage ? `${title} · ${stage.name}` : title;
}

/** Returns how a stage or run did, in a word. */
export function stateText(status) {
  return hasText(`state.${status}`) ? t(`state.${status}`) : status;
}

/** Returns where a temperature came from, in words. */
export function sourceText(source) {
  if (source === null) return "";
  return hasText(`traces.source.${source}`) ? t(`traces.source.${source}`) : source;
}
