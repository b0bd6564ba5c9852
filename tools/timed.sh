#!/bin/sh
# Runs a command and says how long it took.
# Usage: tools/timed.sh NAME COMMAND [ARGUMENT…]
set -u
name=$1
shift
started=$(date +%s)
printf '== %s\n' "$name"
"$@"
status=$?
elapsed=$(($(date +%s) - started))
if [ "$status" -eq 0 ]; then
    printf '== %s: ok in %s s\n' "$name" "$elapsed"
else
    printf '== %s: FAILED after %s s (exit %s)\n' "$name" "$elapsed" "$status" >&2
fi
exit "$status"
