#!/bin/sh
# Follows a topic with nothing but curl: each record as a line of JSON, as it comes. The offset to go on with is kept in a file, so
# that whenever this is stopped, or the node is, nothing is missed; a record that was being printed may be printed again.
#
# ./follow-with-curl.sh http://127.0.0.1:8000 orders ./orders.offset | while read -r record; do echo "$record"; done
set -eu

server=${1:-http://127.0.0.1:8000}
topic=${2:-default}
state=${3:-./$topic.offset}

while :; do
  from=$(cat "$state" 2>/dev/null || echo start)
  curl --no-buffer --silent --show-error --fail --header 'Accept: application/x-ndjson' \
    "$server/v1/topics/$topic/records?partition=0&follow=true&from=$from" |
    while IFS= read -r line; do
      case $line in
        '') continue ;; # the node says that it is still there
        '{"gap":'* | '{"error":'*) # records that are gone, or why it ends
          printf '%s\n' "$line" >&2
          continue
          ;;
      esac
      printf '%s\n' "$line"
      offset=${line#*'"offset":'}
      printf '%s\n' "$((${offset%%[!0-9]*} + 1))" >"$state.new"
      mv "$state.new" "$state"
    done
  # The node ended it, or isn't there.
  sleep 1
done
