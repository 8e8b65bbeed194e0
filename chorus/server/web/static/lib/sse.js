// Server-sent events over fetch: EventSource sends neither a body nor an Authorization header.

/** Yields `{type, id, data}` for each event of a body, `data` as text. Leaving the loop ends the body. */
export async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n"); // our server ends lines with \n only
      rest = blocks.pop();
      for (const block of blocks) {
        const event = parsed(block);
        if (event) yield event;
      }
    }
  } finally {
    await reader.cancel().catch(() => {}); // one that has failed already says so again
  }
}

function parsed(block) {
  const event = { type: "message", id: null, data: null };
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) event.type = line.slice(7);
    else if (line.startsWith("id: ")) event.id = line.slice(4);
    else if (line.startsWith("data: ")) event.data = (event.data === null ? "" : `${event.data}\n`) + line.slice(6);
  }
  return event.data === null ? null : event;
}
