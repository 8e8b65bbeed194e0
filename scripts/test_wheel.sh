#!/usr/bin/env bash
# Build the wheel, install it in an empty environment, start the demo from there, and then a server with each extra:
# `test_wheel.sh [PYTHON [EXTRA ...]]`. PYTHON has hatchling (make test-wheel passes the one of .venv).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
extras=("${@:2}")
tried=$PWD/scripts/wheel_extras.py
place=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$place"' EXIT

"$python" -m hatchling build -t wheel -d "$place/dist" >/dev/null
"$python" -m venv "$place/env"
"$place/env/bin/python" -m pip install -q --disable-pip-version-check "$place"/dist/*.whl

cd "$place"  # nothing of the checkout can be imported from here
version=$("$place/env/bin/chorus" --version)
case "$(basename "$place"/dist/*.whl)" in
  "chorus_llm-$version-"*) echo "chorus $version" ;;
  *) echo "the wheel is not of version $version: $(ls "$place/dist")" >&2; exit 1 ;;
esac
port=$("$place/env/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$place/env/bin/chorus" demo --port "$port" >"$place/log" 2>&1 &
server=$!

"$place/env/bin/python" - "$port" <<'PYTHON'
import json, re, sys, time, urllib.error, urllib.request

base = f"http://127.0.0.1:{sys.argv[1]}"
body = {"model": "chorus", "messages": [{"role": "user", "content": "What is 17 * 23?"}], "include_workflow": True}
request = urllib.request.Request(base + "/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"})
for _ in range(100):
    try:
        urllib.request.urlopen(base + "/health", timeout=5).close()
        break
    except (urllib.error.URLError, ConnectionError):
        time.sleep(0.1)
with urllib.request.urlopen(request, timeout=60) as response:
    answer = json.load(response)
assert "391" in answer["choices"][0]["message"]["content"], answer
assert answer["workflow"]["workers"], answer
with urllib.request.urlopen(base + "/ui/", timeout=5) as response:
    page = response.read().decode()
names = re.findall(r'(?:src|href)="([^"#]+)"', page)
assert names, page
for name in names:
    urllib.request.urlopen(base + "/ui/" + name, timeout=5).close()
print("the wheel answers:", answer["choices"][0]["message"]["content"][:60])
PYTHON
kill "$server"; wait "$server" || true; server=

"$place/env/bin/python" "$tried" "$place"/dist/*.whl ${extras[@]+"${extras[@]}"}
