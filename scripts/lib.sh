# Shared by the shell regression scripts: a server to test, and checks that count.
# CHORUS_URL names a running server; when nothing answers there, the demo is started on a free port.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-.venv/bin/python}
[ -x "$PYTHON" ] || PYTHON=python3
PASSED=0
FAILED=0
DEMO_PID=

pass() { PASSED=$((PASSED + 1)); echo "PASS $1"; }
fail() { FAILED=$((FAILED + 1)); echo "FAIL $1${2:+: ${2:0:300}}"; }

# check NAME TEXT PATTERN: TEXT matches the extended regular expression PATTERN
check() { if grep -Eq -- "$3" <<<"$2"; then pass "$1"; else fail "$1" "no match for $3 in: $2"; fi; }

# check_not NAME TEXT PATTERN: TEXT does not match PATTERN
check_not() { if grep -Eq -- "$3" <<<"$2"; then fail "$1" "unwanted $3"; else pass "$1"; fi; }

call() { curl -s -m 30 "$@" || true; }
status() { curl -s -m 30 -o /dev/null -w '%{http_code}' "$@" || true; }

start_demo() {
  local port
  port=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  CHORUS_LOG=error "$PYTHON" -m chorus demo --port "$port" >/dev/null 2>&1 &
  DEMO_PID=$!
  URL=http://127.0.0.1:$port
  for _ in $(seq 100); do
    curl -s -m 1 "$URL/health" >/dev/null && return
    kill -0 "$DEMO_PID" 2>/dev/null || break
    sleep 0.1
  done
  echo "FAIL the demo did not start"
  exit 1
}

stop_demo() { [ -z "$DEMO_PID" ] || { kill "$DEMO_PID" 2>/dev/null; wait "$DEMO_PID" 2>/dev/null; }; }

use_server() {
  trap stop_demo EXIT
  URL=${CHORUS_URL:-http://127.0.0.1:11435}
  curl -s -m 2 -o /dev/null "$URL/" || start_demo
  MODEL=${CHORUS_MODEL:-chorus}
}

finish() {
  echo "$PASSED passed, $FAILED failed"
  [ "$FAILED" -eq 0 ] && [ "$PASSED" -gt 0 ]
  exit
}
