#!/usr/bin/env bash
# From a fresh Debian 12 or Ubuntu 24.04 to an answer: installs packages, builds, serves the tiny model that comes with it on two ranks of the
# CPU, asks a question, shows the answer as it streams, and lets the model call a function. Can be run again at any time.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/packages.sh

RANKS=2
BUILD=build/release
PROGRAM=$BUILD/launch/gptoss-tp
LOG=build/quickstart.log

say() { printf '\n== %s\n' "$*"; }

say "Packages"
# shellcheck disable=SC2086
packages_need $PACKAGES_BUILD curl jq procps
echo "all there"

say "Build"
cmake --preset release >/dev/null
cmake --build --preset release --target gptoss-tp

if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
cores=$(lscpu -p=CORE,SOCKET 2>/dev/null | grep -v '^#' | sort -u | wc -l)
processors=$(nproc)
if [ "$cores" -eq 0 ] || [ "$processors" -lt "$cores" ]; then cores=$processors; fi
oversubscribe=""
if [ "$cores" -lt "$RANKS" ]; then oversubscribe="--oversubscribe"; fi

say "Serve: mpirun ${oversubscribe:+$oversubscribe }-np $RANKS $PROGRAM configs/tiny.yaml --port 0"
# --port 0: the system picks a free one, and the log tells which.
mpirun $oversubscribe -np $RANKS "$PROGRAM" configs/tiny.yaml --port 0 </dev/null >"$LOG" 2>&1 &
server=$!
# To a rank, which tells the others. Not every mpirun passes signals on, and after a SIGTERM it would kill the ranks a second later.
stop() { pkill -USR1 -o -P $server; }
trap 'stop || true; wait $server 2>/dev/null || true' EXIT
url=""
for _ in $(seq 600); do
    url=$(sed -n 's/.*listening on \(http:[^ ]*\).*/\1/p' "$LOG" | head -n 1)
    if [ -n "$url" ] || ! kill -0 $server 2>/dev/null; then break; fi
    sleep 0.1
done
cat "$LOG"
if [ -z "$url" ]; then
    echo "The server did not start; its log is above." >&2
    exit 1
fi

ask() {
    curl --silent --show-error --fail --no-buffer --max-time 120 "$url/v1/chat/completions" -H 'Content-Type: application/json' -d "$1"
}

question="What is 47 + 38?"
say "Ask: $question"
ask "{\"model\": \"tiny\", \"stream\": true, \"temperature\": 0, \"messages\": [{\"role\": \"user\", \"content\": \"$question\"}]}" |
    sed -un 's/^data: \({.*\)/\1/p' |
    jq --unbuffered -nj 'foreach (inputs | .choices[0].delta) as $d ({};
        .text = (if $d.reasoning then (if .thought then "" else "thinks:  " end) + $d.reasoning
                 elif ($d.content // "") != "" then (if .answered then "" else "\nanswers: " end) + $d.content else "" end)
        | .thought = (.thought or $d.reasoning != null) | .answered = (.answered or ($d.content // "") != ""); .text)'
echo

question="What is the weather in Lisbon?"
say "Ask, with a function get_weather(city): $question"
ask "{\"model\": \"tiny\", \"temperature\": 0, \"messages\": [{\"role\": \"user\", \"content\": \"$question\"}], \"tools\": [{\"type\": \"function\",
    \"function\": {\"name\": \"get_weather\", \"description\": \"Weather of a city.\", \"parameters\": {\"type\": \"object\",
    \"properties\": {\"city\": {\"type\": \"string\"}}, \"required\": [\"city\"]}}}]}" |
    jq -r '.choices[0].message | "thinks:  \(.reasoning)\ncalls:   \(.tool_calls[0].function | "\(.name)(\(.arguments))")"'

say "Stop"
trap - EXIT
stop
code=0
wait $server || code=$?
if [ "$code" -ne 0 ]; then
    tail -n 20 "$LOG" >&2
    echo "The server left with code $code instead of 0; the end of its log is above." >&2
    exit 1
fi
echo "done"

cat <<END

It works. To serve it yourself, and talk to it with any OpenAI client:
    mpirun ${oversubscribe:+$oversubscribe }-np $RANKS $PROGRAM configs/tiny.yaml
    curl http://127.0.0.1:8000/v1/models
END
