#!/usr/bin/env bash
# That streams really stream: pieces arrive over time, and the trace comes with the last event.
set -u
source "$(dirname "$0")/lib.sh"
use_server

# Prints the number of pieces, and the milliseconds between the first and the last.
pieces_over_time() {
  "$PYTHON" - "$URL$1" "$2" <<'PY'
import sys, time, urllib.request

request = urllib.request.Request(sys.argv[1], sys.argv[2].encode(), {"content-type": "application/json"})
times = []
with urllib.request.urlopen(request, timeout=30) as reply:
    while line := reply.readline():
        if line.strip():
            times.append(time.monotonic())
print(len(times), round((times[-1] - times[0]) * 1000) if times else 0)
PY
}

streams() {
  read -r count spread <<<"$(pieces_over_time "$2" "$3" 2>/dev/null)"
  if [ "${count:-0}" -gt 3 ] && [ "${spread:-0}" -gt 20 ]; then pass "$1 ($count pieces over $spread ms)"; else fail "$1" "${count:-0} pieces over ${spread:-0} ms"; fi
}

SAY='How does the selector choose a candidate?'
MESSAGES="\"messages\": [{\"role\": \"user\", \"content\": \"$SAY\"}]"
streams "chat arrives over time" /v1/chat/completions "{\"model\": \"$MODEL\", \"stream\": true, $MESSAGES}"
streams "responses arrive over time" /v1/responses "{\"model\": \"$MODEL\", \"stream\": true, \"input\": \"$SAY\"}"
streams "messages arrive over time" /v1/messages "{\"model\": \"$MODEL\", \"stream\": true, \"max_tokens\": 200, $MESSAGES}"
streams "ollama chat arrives over time" /api/chat "{\"model\": \"$MODEL\", $MESSAGES}"
streams "ollama generate arrives over time" /api/generate "{\"model\": \"$MODEL\", \"prompt\": \"$SAY\"}"

chat=$(call "$URL/v1/chat/completions" -d "{\"model\": \"$MODEL\", \"stream\": true, \"include_workflow\": true, $MESSAGES}")
check "the trace is in the last event" "$(grep '^data: {' <<<"$chat" | tail -1)" '"workflow":\{"workflow_id"'
check_not "and only there" "$(grep '^data: {' <<<"$chat" | head -n -1)" '"workflow"'
lines=$(call "$URL/api/chat" -d "{\"model\": \"$MODEL\", \"include_workflow\": true, $MESSAGES}")
check "the trace is on the last line" "$(tail -1 <<<"$lines")" '"workflow":\{"workflow_id"'
finish
