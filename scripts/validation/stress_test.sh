#!/usr/bin/env bash
# The whole composition, under a project name of its own, with a simulated market: SECONDS of load (default 600), then a replay of
# the whole log while the load goes on. Exits 1 when a container was killed or restarted, reached its limit of memory, or all together used more
# than one core.
#   stress_test.sh [SECONDS]          MARKET_ARGS="--speed 20x" sets the load (default 50x)
# The market's hours pass faster than the clock's, so it is a recorded one: in a live market its events would come from the future.
seconds=${1:-600}
export FORESHOCK_PROJECT=${FORESHOCK_PROJECT:-foreshock}-stress
image=$(cat "${FORESHOCK_STATE:-.deployment}/image" 2>/dev/null || echo foreshock:0.1.0)
export FORESHOCK_IMAGE=${FORESHOCK_IMAGE:-$image}
export FORESHOCK_STATE=${FORESHOCK_STATE:-.deployment}/stress FORESHOCK_SECRETS=${FORESHOCK_SECRETS:-$PWD/.secrets}/stress
export FORESHOCK_INGEST_PORT=${FORESHOCK_INGEST_PORT:-19381} FORESHOCK_NOTIFY_PORT=${FORESHOCK_NOTIFY_PORT:-19383}
export STANDIN_PORT=${STANDIN_PORT:-19700} FORESHOCK_COMPOSE_FILES=tests/docker/standin.yml MARKET_ARGS=${MARKET_ARGS:---speed 50x} FORESHOCK_MARKET=recorded
export TELEGRAM_CHAT_ID=${TELEGRAM_CHAT_ID:-4242} TELEGRAM_BOT_TOKEN=${TELEGRAM_BOT_TOKEN:-123456:test-token-of-no-bot}
. "$(dirname "${BASH_SOURCE[0]}")/../deployment/common.sh"

trap 'scripts/deployment/rollback.sh --purge >/dev/null' EXIT
scripts/deployment/start_monitoring.sh --alone
samples=$state/stress.txt
: >"$samples"
sample() { docker stats --no-stream --format '{{.Name}} {{.MemPerc}} {{.CPUPerc}} {{.MemUsage}}' "$project"-{nats,ingest,detect,notify}-1 >>"$samples"; }
end=$((SECONDS + seconds))
while [ $SECONDS -lt $end ]; do sample; sleep 3; done
echo "$seconds s of load are over; a replay of the whole log"
compose run --rm --no-deps --no-TTY admin replay --stream --json 2>/dev/null | wc -l | sed 's/$/ alerts in the replay/' & replay=$!
while kill -0 $replay 2>/dev/null; do sample; done

awk -v seconds="$seconds" '
    { gsub("%", ""); n[$1]++; cpu[$1] += $3; if ($2 > mem[$1]) { mem[$1] = $2; usage[$1] = $4 } }
    END { for (name in n) { printf "%-28s cpu %5.1f %% on average, memory at most %s (%.0f %% of its limit)\n", name, cpu[name] / n[name], usage[name], mem[name]; all += cpu[name] / n[name] }
          printf "together %.1f %% of a core\n", all; exit all > 100 }' "$samples" || fail "more than one core"
for service in nats ingest detect notify; do
    was=$(docker inspect --format '{{.State.Status}} {{.RestartCount}} {{.State.OOMKilled}}' "$project-$service-1")
    [ "$was" = "running 0 false" ] || fail "$service (state, restarts, out of memory): $was"
done
compose run --rm --no-deps --no-TTY admin status 2>/dev/null | sed -n '/^stream /,$p'
echo "no container was restarted or reached its limit"
