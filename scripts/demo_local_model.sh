#!/bin/sh
# The improvement loop with a small model on this machine: starts its server, runs the demonstration, ends the server.
# THREADS sets how many cores the server may use.
set -eu
server_python=$1
e2i=$2
shift 2
address=$(mktemp)
"$server_python" "$(dirname "$0")/local_model.py" ${THREADS:+--threads "$THREADS"} >"$address" 2>"$address.log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -f "$address" "$address.log"' EXIT INT TERM
for _ in $(seq 60); do
  [ -s "$address" ] && break
  kill -0 "$server" 2>/dev/null || { cat "$address.log" >&2; exit 2; }
  sleep 1
done
[ -s "$address" ] || { echo "the model's server did not start within a minute: $(tail -n 1 "$address.log")" >&2; exit 2; }
"$e2i" demo loop --model-url "$(cat "$address")" --model smollm2 "$@"
