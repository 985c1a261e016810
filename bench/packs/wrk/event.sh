#!/bin/sh
# Makes an event with SEATS seats and prints its id: EVENT_ID=$(bench/packs/wrk/event.sh) wrk …
# With EVENT_ID set it makes none. BASE_URL and ADMIN_KEY say where and as whom; it needs curl.
set -eu

if [ -n "${EVENT_ID:-}" ]; then
    echo "$EVENT_ID"
    exit
fi
url=${BASE_URL:-http://127.0.0.1:8000}/api/v1/events
seats=${SEATS:-50000}
event='{"name": "wrk", "currency": "EUR", "sections": [{"name": "Hall", "price": 4500, "rows": ['
event="$event"$(awk -v seats="$seats" 'BEGIN {
    for (row = 1; seats > 0; row++) {
        printf "%s{\"row\": \"R%d\", \"seats\": %d}", (row > 1 ? ", " : ""), row, (seats < 100 ? seats : 100)
        seats -= 100
    }
}')']}]}'
# The body is too long for an argument, and the key does not belong into the list of processes.
headers='content-type: application/json'
[ -z "${ADMIN_KEY:-}" ] || headers="$headers
x-admin-key: $ADMIN_KEY"
answer=$(printf '%s' "$event" | curl -sS --max-time 30 -w '\n%{http_code}' -X POST \
    -H "@/dev/fd/3" --data-binary @- "$url" 3<<END
$headers
END
) || { echo "No event could be made: $url does not answer. Start Holdfast (make run), or set BASE_URL." >&2; exit 1; }
case $answer in
*'
201') printf '%s' "$answer" | sed -n 's/^{"id": *\([0-9]*\).*/\1/p' ;;
*) echo "No event could be made: $answer. Set ADMIN_KEY, or EVENT_ID." >&2; exit 1 ;;
esac
