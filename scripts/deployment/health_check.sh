#!/usr/bin/env bash
# Asks every container of foreshock how it is; exits 1 when one of them is missing or not ready.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

sick=0
memory=$(docker stats --no-stream --format '{{.Name}} {{.MemUsage}}' 2>/dev/null || true)
printf '%-8s %-10s %-10s %s\n' service container ready memory
nodes=nats
[ -z "$(recorded cluster)" ] || nodes="nats nats-2 nats-3"
for service in $nodes ingest detect notify; do
    container=$project-$service-1
    status=$(docker inspect --format '{{.State.Status}}' "$container" 2>/dev/null || echo missing)
    ready=no
    if [[ $service = nats* ]]; then
        docker exec "$container" wget -q -O /dev/null 'http://127.0.0.1:8222/healthz?js-enabled-only=true' 2>/dev/null && ready=yes
    else
        docker exec "$container" /foreshock health >/dev/null 2>&1 && ready=yes
    fi
    [ $ready = yes ] || sick=1
    printf '%-8s %-10s %-10s %s\n' "$service" "$status" "$ready" "$(sed -n "s/^$container //p" <<<"$memory")"
done
exit $sick
