#!/usr/bin/env bash
# Framing and terminators of every stream.
set -u
source "$(dirname "$0")/lib.sh"
use_server
Q='"messages": [{"role": "user", "content": "What is 6 * 7?"}]'

chat=$(call -i "$URL/v1/chat/completions" -d "{\"model\": \"$MODEL\", \"stream\": true, $Q}" | tr -d '\r')
check "chat: content type" "$chat" '^content-type: text/event-stream'
check "chat: not buffered" "$chat" '^x-accel-buffering: no'
check "chat: role first" "$(grep -m1 '^data: ' <<<"$chat")" '"role":"assistant"'
check "chat: finish reason" "$chat" '"finish_reason":"stop"'
check "chat: ends with [DONE]" "$(grep '^data: ' <<<"$chat" | tail -1)" '^data: \[DONE\]$'

usage=$(call "$URL/v1/chat/completions" -d "{\"model\": \"$MODEL\", \"stream\": true, \"stream_options\": {\"include_usage\": true}, $Q}")
check "chat: usage last" "$(grep '^data: ' <<<"$usage" | tail -2 | head -1)" '"choices":\[\],"usage":\{"prompt_tokens"'

completions=$(call "$URL/v1/completions" -d "{\"model\": \"$MODEL\", \"stream\": true, \"prompt\": \"What is 6 * 7?\"}")
check "completions: ends with [DONE]" "$(grep '^data: ' <<<"$completions" | tail -1)" '^data: \[DONE\]$'

responses=$(call "$URL/v1/responses" -d "{\"model\": \"$MODEL\", \"stream\": true, \"input\": \"What is 6 * 7?\"}")
check "responses: created first" "$(grep -m1 '^event: ' <<<"$responses")" '^event: response.created$'
check "responses: completed last" "$(grep '^event: ' <<<"$responses" | tail -1)" '^event: response.completed$'
check_not "responses: no [DONE]" "$responses" 'DONE'

messages=$(call "$URL/v1/messages" -d "{\"model\": \"$MODEL\", \"stream\": true, \"max_tokens\": 200, $Q}")
check "messages: start first" "$(grep -m1 '^event: ' <<<"$messages")" '^event: message_start$'
check "messages: stop last" "$(grep '^event: ' <<<"$messages" | tail -1)" '^event: message_stop$'

lines=$(call -i "$URL/api/chat" -d "{\"model\": \"$MODEL\", $Q}" | tr -d '\r')
check "ollama: content type" "$lines" '^content-type: application/x-ndjson'
check "ollama: first line goes on" "$(grep -m1 '^{' <<<"$lines")" '"done":false'
check "ollama: last line is done" "$(grep '^{' <<<"$lines" | tail -1)" '"done":true,"done_reason":"stop"'
check_not "ollama: no error key" "$lines" '"error"'

sse=$(call -i -H 'Accept: text/event-stream' "$URL/api/generate" -d "{\"model\": \"$MODEL\", \"prompt\": \"What is 6 * 7?\"}" | tr -d '\r')
check "ollama as SSE: content type" "$sse" '^content-type: text/event-stream'
check "ollama as SSE: data" "$sse" '^data: \{.*"response":"'
check "ollama as SSE: ends with [DONE]" "$(grep '^data: ' <<<"$sse" | tail -1)" '^data: \[DONE\]$'
finish
