// Runs from the server: asked for, followed, stopped. No DOM here.

import { ApiError, feed, getJson, postJson } from "./api.js";
import { Run } from "./run.js";
import { runFromTrace } from "./trace.js";

/** Asks, and calls `onEvent(run, stage)` for each event, until the run is over. Raises ApiError. */
export async function ask(body, onEvent, signal) {
  const run = new Run();
  const last = await applied(run, feed("api/v1/run", { body, signal }), onEvent);
  if (!run.isOver && run.id) await applied(run, feed(events(run.id, last), { signal }), onEvent); // the connection broke
  if (!run.isOver) throw new Error("the feed ended before the run did");
  return run;
}

/** Follows a run by its id, from its first event; of one that is no longer kept, its trace. Raises ApiError. */
export async function follow(id, onEvent, signal) {
  try {
    const run = new Run();
    await applied(run, feed(events(id, 0), { signal }), onEvent);
    return run;
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 404)) throw error;
    const run = runFromTrace(await getJson(`api/v1/workflows/${encodeURIComponent(id)}`, signal));
    onEvent(run, null);
    return run;
  }
}

/** Stops a run; its feed says so. */
export function stop(id) {
  return postJson(`api/v1/runs/${encodeURIComponent(id)}/cancel`, {});
}

/** Returns the body of a request: `turns` are {question, images, answer} before it, oldest first. */
export function request({ model, question, images, turns, sessionId }) {
  const asked = { role: "user", content: content(question, images) };
  if (sessionId) return { model, session_id: sessionId, messages: [asked] };
  const before = turns.flatMap((turn) => [
    { role: "user", content: content(turn.question, turn.images) },
    { role: "assistant", content: turn.answer },
  ]);
  return { model, session: true, messages: [...before, asked] };
}

function events(id, after) {
  return `api/v1/runs/${encodeURIComponent(id)}/events?after=${after}`;
}

function content(text, images) {
  if (!images.length) return text;
  return [{ type: "text", text }, ...images.map(({ url }) => ({ type: "image_url", image_url: { url } }))];
}

/** Applies the events of a feed; returns the number of the last one. */
async function applied(run, events, onEvent) {
  let last = 0;
  for await (const { data } of events) {
    last = data.sequence_number;
    onEvent(run, run.apply(data));
  }
  return last;
}
