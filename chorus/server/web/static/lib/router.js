// The address: `#/screen/rest?name=value`. It holds what is shown, so that it can be sent to somebody.

/** Returns what the address says: `{screen, rest, query}`, `rest` "" where there is none. */
export function route() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [screen, ...rest] = path.split("/").map(decoded);
  return { screen: screen || "ask", rest: rest.join("/"), query: new URLSearchParams(search) };
}

/** Returns the address of a screen. Values that are empty are left out. */
export function address(screen, rest = "", values = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const path = rest ? `${screen}/${encodeURIComponent(rest)}` : screen;
  return `#/${path}${query.size ? `?${query}` : ""}`;
}

/** Shows another screen. */
export function go(screen, rest = "", values = {}) {
  location.hash = address(screen, rest, values);
}

/** Notes in the address what is shown, without showing it again and without a step of history. */
export function note(screen, rest = "", values = {}) {
  history.replaceState(null, "", address(screen, rest, values));
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
