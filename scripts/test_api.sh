#!/usr/bin/env bash
# Every endpoint once, and the errors with their codes.
set -u
source "$(dirname "$0")/lib.sh"
use_server
Q='"messages": [{"role": "user", "content": "What is 6 * 7?"}]'

check "health" "$(call "$URL/health")" '"status":"ok"'
check "ready" "$(call "$URL/ready")" '"status":"ready"'
check "root" "$(call "$URL/")" '^Ollama is running'
check "the page" "$(call "$URL/ui/")" '<!doctype html>'
check "a file of the page" "$(call "$URL/ui/icon.svg")" '<svg'
check "the page without its slash" "$(call -o /dev/null -w '%{http_code} %{redirect_url}' "$URL/ui")" "307 $URL/ui/\$"
check "models" "$(call "$URL/v1/models")" '"object":"list".*"id":"'
check "one model" "$(call "$URL/v1/models/$MODEL")" "\"id\":\"$MODEL\""
check "tags" "$(call "$URL/api/tags")" '"modified_at"'
check "ps" "$(call "$URL/api/ps")" '"expires_at"'
check "version" "$(call "$URL/api/version")" '"version":"0\.'
check "show" "$(call "$URL/api/show" -d "{\"model\": \"$MODEL\"}")" '"capabilities":\["completion"'
check "openapi" "$(call "$URL/openapi.json")" '"openapi":"3\.1'
check "chat completions" "$(call "$URL/v1/chat/completions" -d "{\"model\": \"$MODEL\", $Q}")" '"object":"chat.completion".*"finish_reason":"stop"'
check "completions" "$(call "$URL/v1/completions" -d "{\"model\": \"$MODEL\", \"prompt\": \"What is 6 * 7?\"}")" '"object":"text_completion"'
response=$(call "$URL/v1/responses" -d "{\"model\": \"$MODEL\", \"input\": \"What is 6 * 7?\"}")
check "responses" "$response" '"object":"response".*"status":"completed"'
kept=$(sed -n 's/.*"id":"\(resp_[0-9a-f]*\)".*/\1/p' <<<"$response")
check "a stored response" "$(call "$URL/v1/responses/$kept")" "\"id\":\"$kept\""
check "what led to it" "$(call "$URL/v1/responses/$kept/input_items")" '"object":"list".*What is 6'
check "cancelling it is refused" "$(call -X POST "$URL/v1/responses/$kept/cancel")" 'Only a background response'
check "its deletion" "$(call -X DELETE "$URL/v1/responses/$kept")" '"deleted":true'
conversation=$(call "$URL/v1/conversations" -d '{"items": [{"role": "user", "content": "Hello"}]}')
check "a conversation" "$conversation" '"object":"conversation"'
kept=$(sed -n 's/.*"id":"\(conv_[0-9a-f]*\)".*/\1/p' <<<"$conversation")
check "it is read" "$(call "$URL/v1/conversations/$kept")" "\"id\":\"$kept\""
items=$(call "$URL/v1/conversations/$kept/items")
check "its items" "$items" '"object":"list".*Hello'
item=$(sed -n 's/.*"id":"\(msg_[0-9a-f]*\)".*/\1/p' <<<"$items")
check "one item" "$(call "$URL/v1/conversations/$kept/items/$item")" 'Hello'
check "it goes on" "$(call "$URL/v1/responses" -d "{\"model\": \"$MODEL\", \"input\": \"What is 6 * 7?\", \"conversation\": \"$kept\"}")" "\"conversation\":\{\"id\":\"$kept\""
check "sessions" "$(call "$URL/api/v1/sessions")" "\"id\":\"$kept\""
check "one session" "$(call "$URL/api/v1/sessions/$kept")" "\"id\":\"$kept\""
check "its deletion" "$(call -X DELETE "$URL/v1/conversations/$kept")" '"deleted":true'
line='{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "'$MODEL'", '$Q'}}'
file=$(call "$URL/v1/files" -F purpose=batch -F 'file=@-;filename=in.jsonl' <<<"$line")
check "a file" "$file" '"object":"file".*"status":"processed"'
kept=$(sed -n 's/.*"id":"\(file-[0-9a-f]*\)".*/\1/p' <<<"$file")
check "files" "$(call "$URL/v1/files?limit=1")" "\"id\":\"$kept\""
check "it is read" "$(call "$URL/v1/files/$kept")" '"purpose":"batch"'
check "its content" "$(call "$URL/v1/files/$kept/content")" '"custom_id": "a"'
batch=$(call "$URL/v1/batches" -d "{\"input_file_id\": \"$kept\", \"endpoint\": \"/v1/chat/completions\", \"completion_window\": \"24h\"}")
check "a batch" "$batch" '"object":"batch".*"status":"validating"'
id=$(sed -n 's/.*"id":"\(batch_[0-9a-f]*\)".*/\1/p' <<<"$batch")
for _ in $(seq 100); do
  batch=$(call "$URL/v1/batches/$id")
  grep -q '"status":"completed"' <<<"$batch" && break
  sleep 0.1
done
check "it is completed" "$batch" '"completed":1,"failed":0'
check "batches" "$(call "$URL/v1/batches")" "\"id\":\"$id\""
check "one that is over is not cancelled" "$(call -X POST "$URL/v1/batches/$id/cancel")" 'Cannot cancel'
output=$(sed -n 's/.*"output_file_id":"\(file-[0-9a-f]*\)".*/\1/p' <<<"$batch")
check "its output" "$(call "$URL/v1/files/$output/content")" '"custom_id":"a".*"status_code":200'
for id in "$kept" "$output"; do
  check "a file's deletion" "$(call -X DELETE "$URL/v1/files/$id")" '"deleted":true'
done
check "memory" "$(call -X PUT -H 'X-User-ID: script' "$URL/api/v1/memory" -d '{"notes": {"language": "English"}}')" '"language":"English"'
check "memory is forgotten" "$(call -X DELETE -H 'X-User-ID: script' "$URL/api/v1/memory")" '"notes":\{\}'
# without the extra `mcp` there is a sentence that says so
check "mcp" "$(call "$URL/mcp" -H 'Accept: application/json, text/event-stream' -H 'Content-Type: application/json' -d '{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}')" '"name":"memory_upsert"|chorus-llm\[mcp\]'
check "usage" "$(call "$URL/api/v1/usage?group_by=model")" '"requests":[1-9]'
check "messages" "$(call "$URL/v1/messages" -d "{\"model\": \"$MODEL\", \"max_tokens\": 200, $Q}")" '"type":"message".*"stop_reason":"end_turn"'
check "count tokens" "$(call "$URL/v1/messages/count_tokens" -d "{\"model\": \"$MODEL\", $Q}")" '^\{"input_tokens":[1-9]'
check "ollama chat" "$(call "$URL/api/chat" -d "{\"model\": \"$MODEL\", \"stream\": false, $Q}")" '"done":true,"done_reason":"stop"'
check "ollama generate" "$(call "$URL/api/generate" -d "{\"model\": \"$MODEL\", \"stream\": false, \"prompt\": \"What is 6 * 7?\"}")" '"response":"[^"]+.*"done":true'
feed=$(call "$URL/api/v1/run" -d "{\"model\": \"$MODEL\", \"question\": \"What is 6 * 7?\"}")
check "the event feed" "$feed" '^event: run.finished'
kept=$(sed -n 's/.*"run_id":"\(wf_[0-9a-f]*\)".*/\1/p' <<<"$feed")
check "live runs" "$(call "$URL/api/v1/runs")" "\"id\":\"$kept\",\"state\":\"completed\""
check "one run" "$(call "$URL/api/v1/runs/$kept")" "\"id\":\"$kept\""
check "its events" "$(call "$URL/api/v1/runs/$kept/events?after=1")" '^event: stage.started'
check "one that is over stays so" "$(call -X POST "$URL/api/v1/runs/$kept/cancel")" '"state":"completed"'
check "markdown" "$(call "$URL/api/v1/render" -d '{"text": "**a** <b>"}')" '<strong>a</strong> &lt;b&gt;'
check "statistics" "$(call --max-time 2 "$URL/api/v1/stats/stream")" '^data: \{"interval_secs":1,"samples":'
check "explain" "$(call "$URL/api/v1/explain" -d "{\"model\": \"$MODEL\", $Q}")" '"calls":[1-9].*"worst_case_secs":.*"unpriced":'
# a workflow has no embeddings; CHORUS_EMBED names a model that has
for path in /v1/embeddings /api/embed /api/embeddings; do
  if [ -n "${CHORUS_EMBED:-}" ]; then
    check "embeddings $path" "$(call "$URL$path" -d "{\"model\": \"$CHORUS_EMBED\", \"input\": \"a\", \"prompt\": \"a\"}")" '"embeddings?":\['
  fi
  check "a workflow does not embed $path" "$(call "$URL$path" -d "{\"model\": \"$MODEL\", \"input\": \"a\", \"prompt\": \"a\"}")" '"code":"unsupported_feature"'
done
# what is relayed goes to single models; CHORUS_RELAY names one whose upstream has all of it
for path in /v1/rerank /v2/rerank /rerank /v1/images/generations /v1/audio/speech /v1/moderations; do
  body='"query": "a", "documents": ["a"], "prompt": "a", "input": "a", "voice": "alloy"'
  if [ -n "${CHORUS_RELAY:-}" ]; then
    check "relayed $path" "$(status "$URL$path" -d "{\"model\": \"$CHORUS_RELAY\", $body}")" '^200$'
  fi
  check "a workflow is refused $path" "$(call "$URL$path" -d "{\"model\": \"$MODEL\", $body}")" '"code":"unsupported_feature"'
done
for path in /v1/images/edits /v1/images/variations /v1/audio/transcriptions /v1/audio/translations; do
  if [ -n "${CHORUS_RELAY:-}" ]; then
    check "relayed $path" "$(status "$URL$path" -F model="$CHORUS_RELAY" -F prompt=a -F 'image=@-;filename=a' <<<a)" '^200$'
  fi
  check "a workflow is refused $path" "$(call "$URL$path" -F 'file=@-;filename=a' -F model="$MODEL" <<<a)" '"code":"unsupported_feature"'
done
check "ollama load" "$(call "$URL/api/generate" -d "{\"model\": \"$MODEL\"}")" '"done_reason":"load"'

traced=$(call -D - "$URL/v1/chat/completions" -d "{\"model\": \"$MODEL\", \"include_workflow\": true, $Q}")
check "trace in the body" "$traced" '"workflow":\{"workflow_id"'
check "request id" "$traced" '^x-request-id: '
id=$(grep -i '^x-chorus-workflow-id:' <<<"$traced" | tr -d '\r' | cut -d' ' -f2)
check "trace later" "$(call "$URL/api/v1/workflows/$id")" "\"workflow_id\":\"$id\""
check "upstreams" "$(call "$URL/api/v1/upstreams")" '"replicas":\['
check "metrics" "$(call "$URL/metrics")" 'http_requests_total'
check "replay" "$(call "$URL/api/v1/workflows/$id/replay" -d "{\"model\": \"$MODEL\"}")" '^\{"answers":\['
check "traces" "$(call "$URL/api/v1/workflows")" "$id"
check "traces by a filter, in short" "$(call "$URL/api/v1/workflows?summary=true&limit=1&id=$id")" "\"workflow_id\":\"$id\""

check "feedback" "$(call "$URL/api/v1/feedback" -d "{\"workflow_id\": \"$id\", \"score\": 1, \"comment\": \"right\"}")" '"score":1.0,"comment":"right"'
check "feedback in the trace" "$(call "$URL/api/v1/workflows/$id")" '"feedback":\[\{"key":"[^"]*","score":1.0'
check "feedback on nothing is 404" "$(status "$URL/api/v1/feedback" -d '{"workflow_id": "wf_no", "score": 1}')" '^404$'
check "posteriors" "$(call "$URL/api/v1/learning")" '^\{"workflows":\['
check "posteriors are forgotten" "$(call -X DELETE "$URL/api/v1/learning?workflow=$MODEL")" '"reset":true'

check "tunings" "$(call "$URL/api/v1/tunings")" '^\{"folder":"[^"]+","data":\['
check "a tuning that is not there is 404" "$(status "$URL/api/v1/tunings/..%2Fetc")" '^404$'

check "unknown model is 404" "$(call -w '%{http_code}' "$URL/v1/chat/completions" -d "{\"model\": \"no-such\", $Q}")" '"code":"model_not_found".*404$'
check "unknown model, ollama" "$(call "$URL/api/chat" -d "{\"model\": \"no-such\", $Q}")" "^\{\"error\":\"model 'no-such' not found"
check "a wrong type is 400 and named" "$(call "$URL/v1/chat/completions" -d '{"model": 7}')" '"param":"model"'
check "no input" "$(call "$URL/v1/responses" -d "{\"model\": \"$MODEL\"}")" 'invalid request: missing input/messages/prompt/instructions'
check "no JSON is 400" "$(status "$URL/api/chat" -d 'nonsense')" '^400$'
check "a wrong method is 405" "$(status "$URL/v1/chat/completions")" '^405$'
check "nothing there is 404" "$(status "$URL/nowhere")" '^404$'
for path in /api/pull /api/push /api/create /api/copy /api/blobs/sha256:0; do
  check "no model files: 501 $path" "$(status "$URL$path" -d "{\"model\": \"$MODEL\"}")" '^501$'
done
check "no model files: 501 /api/delete" "$(status -X DELETE "$URL/api/delete" -d "{\"model\": \"$MODEL\"}")" '^501$'
check "an error has its request id" "$(call -H 'X-Request-ID: script-1' "$URL/nowhere")" '"request_id":"script-1"'
check "unknown model, anthropic" "$(call "$URL/v1/messages" -d "{\"model\": \"no-such\", $Q}")" '^\{"type":"error","error":\{.*not_found_error'
check "a foreign page is 403" "$(status -H 'Origin: https://evil.example.com' "$URL/health")" '^403$'
check "a rebound host is 403" "$(status -H 'Host: evil.example.com' "$URL/health")" '^403$'
finish
