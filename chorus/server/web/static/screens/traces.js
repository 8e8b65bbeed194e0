// The screen of traces: the list, one run, or two beside each other, as the address says.

import { showList } from "./traces/list.js";
import { showOne } from "./traces/one.js";
import { showTwo } from "./traces/two.js";

/** Shows the screen. Returns what ends it. */
export function show(main, { rest, query }) {
  if (!rest) return showList(main, query);
  const other = query.get("with");
  return other ? showTwo(main, rest, other) : showOne(main, rest, query);
}
