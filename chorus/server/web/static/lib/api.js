// The server: JSON in and out, and feeds. Addresses are relative, so that a proxy may put a prefix before them.

import { readEvents } from "./sse.js";

const KEPT = "chorus.key";
let key = sessionStorage.getItem(KEPT);
let asked = null;

/** An answer that is no success. `code` and `requestId` are the server's. */
export class ApiError extends Error {
  constructor(status, error) {
    super(error?.message ?? `HTTP ${status}`);
    this.status = status;
    this.code = error?.code ?? null;
    this.requestId = error?.request_id ?? null;
  }
}

let askForKey = () => Promise.reject(new Error("no key"));
let keyChanged = () => {};

/**
 * Says what asks for a key where the server wants one: `ask(wasRefused)` returns it. `changed` is called
 * when it is kept.
 */
export function onKeyNeeded(ask, changed) {
  askForKey = ask;
  keyChanged = changed;
}

/** Whether a key is kept for this tab. */
export function hasKey() {
  return key !== null;
}

/** Forgets the key of this tab. */
export function forgetKey() {
  key = null;
  sessionStorage.removeItem(KEPT);
}

/** Returns the JSON at `path`, such as `api/v1/runs`. Raises ApiError. */
export async function getJson(path, signal) {
  return (await sent(path, { signal })).json();
}

/** Returns the JSON that answers `body`. Raises ApiError. */
export async function postJson(path, body, signal) {
  return (await sent(path, posted(body, signal))).json();
}

/** Yields the events of a feed, `{type, id, data}` with `data` parsed. Raises ApiError. */
export async function* feed(path, { body, signal } = {}) {
  const response = await sent(path, body ? posted(body, signal) : { signal });
  if (response.status === 204) return;
  for await (const event of readEvents(response.body)) {
    yield { ...event, data: JSON.parse(event.data) };
  }
}

function posted(body, signal) {
  return { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" }, signal };
}

async function sent(path, options) {
  for (;;) {
    const used = key;
    const headers = { ...options.headers, ...(used ? { authorization: `Bearer ${used}` } : {}) };
    const response = await fetch(`../${path}`, { ...options, headers, cache: "no-store" });
    if (response.ok) return response;
    const error = (await response.json().catch(() => null))?.error;
    if (response.status !== 401) throw new ApiError(response.status, error);
    if (key === used) await ask(used !== null);
  }
}

/** Waits until somebody has given a key. Requests that fail at the same time ask once. */
async function ask(wasRefused) {
  asked ??= askForKey(wasRefused).finally(() => (asked = null));
  key = await asked;
  sessionStorage.setItem(KEPT, key);
  keyChanged();
}
