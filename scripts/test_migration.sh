#!/usr/bin/env bash
# An old configuration file in the new form: dry run, backup, idempotence. Needs no server.
set -u
source "$(dirname "$0")/lib.sh"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
file=$folder/config.toml
cp test-old-config.toml "$file"
chorus() { "$PYTHON" -m chorus "$@" 2>&1; }

dry=$(chorus migrate "$file" --dry-run)
check "dry run prints the new form" "$dry" '^\[workflow-integration\]'
if cmp -s test-old-config.toml "$file"; then pass "dry run writes nothing"; else fail "dry run writes nothing"; fi
check "an old file is understood as it is" "$(chorus check "$file")" 'chorus migrate'
check "migrate says what it did" "$(chorus migrate "$file")" 'was rewritten'
if cmp -s test-old-config.toml "$file.bak"; then pass "the backup is the old file"; else fail "the backup is the old file"; fi
if [ "$(cat "$file")" = "$dry" ]; then pass "the dry run was true"; else fail "the dry run was true"; fi
cp "$file" "$folder/once"
check "a second run changes nothing" "$(chorus migrate "$file")" 'nothing was changed'
if cmp -s "$folder/once" "$file"; then pass "not a byte"; else fail "not a byte"; fi
check "the new file checks" "$(chorus check "$file")" 'config.toml: ok'
cp test-old-config.toml "$file"
chorus migrate "$file" >/dev/null 2>&1
if cmp -s test-old-config.toml "$file.bak" && [ "$(ls "$folder" | grep -c 'bak')" -eq 2 ]; then pass "an older backup is never overwritten"; else fail "an older backup is never overwritten" "$(ls "$folder")"; fi
finish
