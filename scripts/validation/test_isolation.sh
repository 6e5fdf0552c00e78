#!/usr/bin/env bash
# Each service alone with the broker, under a project name of its own, beside whatever runs: does it start, work, stay within its
# memory and stop in order with the others absent? Exits 1 on the first that does not.
export FORESHOCK_PROJECT=${FORESHOCK_PROJECT:-foreshock}-isolated
export FORESHOCK_STATE=${FORESHOCK_STATE:-.deployment}/isolated FORESHOCK_SECRETS=${FORESHOCK_SECRETS:-$PWD/.secrets}/isolated
export FORESHOCK_INGEST_PORT=${FORESHOCK_INGEST_PORT:-19281} FORESHOCK_NOTIFY_PORT=${FORESHOCK_NOTIFY_PORT:-19283}
image=$(cat "$(dirname "$FORESHOCK_STATE")/image" 2>/dev/null || echo foreshock:0.1.0)
export FORESHOCK_IMAGE=${FORESHOCK_IMAGE:-$image}
. "$(dirname "${BASH_SOURCE[0]}")/../deployment/common.sh"

trap 'scripts/deployment/rollback.sh --purge >/dev/null' EXIT
scripts/deployment/start_monitoring.sh --prepare
compose up --detach nats topology
for service in ingest detect notify; do
    container=$project-$service-1
    compose up --detach --no-deps "$service"
    ready "$container" 60 || { docker logs --tail 20 "$container"; fail "$service is not ready alone"; }
    sleep "${SECONDS_EACH:-10}"
    docker exec "$container" /foreshock health || fail "$service does not stay ready alone"
    docker stats --no-stream --format '{{.Name}}  {{.MemUsage}}  {{.CPUPerc}}' "$container"
    docker stop --time 30 "$container" >/dev/null
    ended=$(docker inspect --format '{{.State.ExitCode}} {{.State.OOMKilled}}' "$container")
    [ "$ended" = "0 false" ] || fail "$service ended with (code, out of memory) $ended"
    docker rm "$container" >/dev/null
    echo "$service: starts, works and stops alone"
done
