#!/usr/bin/env bash
# Starts foreshock beside whatever runs here:
#   start_monitoring.sh                  on networks of its own, or on the one joined before
#   start_monitoring.sh --network NAME   also on an existing network
#   start_monitoring.sh --alone          on networks of its own only
#   start_monitoring.sh --cluster        with three brokers and three copies of every stream; only for a new installation
#   start_monitoring.sh --dashboards     also Prometheus and Grafana
#   start_monitoring.sh --prepare        only writes the secrets, and starts nothing
# The image is FORESHOCK_IMAGE (default: the one that runs, else foreshock:0.1.0). A token comes from TELEGRAM_BOT_TOKEN or
# FORESHOCK_BOT_TOKEN at the first start and lies in .secrets afterwards.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p "$state" "$FORESHOCK_SECRETS"
chmod 700 "$FORESHOCK_SECRETS"
case "${1:-}" in
    --alone) rm -f "$state/network" ;;
    --network) docker network inspect "${2:?--network needs a name}" >/dev/null 2>&1 || fail "there is no network $2: see \`docker network ls\`"
        echo "$2" >"$state/network" ;;
    --cluster) [ -n "$(recorded cluster)" ] || [ -z "$(recorded image)" ] || fail "an installation of one node cannot become a cluster: docs/operations.md"
        echo yes >"$state/cluster" ;;
    --dashboards) echo yes >"$state/monitoring" ;;
    "" | --prepare) ;;
    *) fail "unknown option $1; see the head of this script" ;;
esac

# A secret that is there stays; the containers' user reads it through its bind, nobody else enters the folder (ops.md 10).
secret() { [ -e "$FORESHOCK_SECRETS/$1" ] || { printf '%s' "$2" >"$FORESHOCK_SECRETS/$1"; chmod 644 "$FORESHOCK_SECRETS/$1"; }; }
# Begins with a letter and has nothing the broker's configuration could read as something else (nats.md 4).
password() { echo "p$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"; }
for user in ingest detect notify admin viewer sys; do secret "nats_$user" "$(password)"; done
lines=$(for user in ingest detect notify admin viewer sys; do echo "${user^^}_PASSWORD = \"$(cat "$FORESHOCK_SECRETS/nats_$user")\""; done)
secret nats_passwords "$lines"
cluster=$(password)
secret nats_cluster "authorization { user: cluster, password: \"$cluster\" }
routes: [ $(printf "\"nats://cluster:$cluster@%s:6222\", " nats nats-2 nats-3) ]"
secret telegram_bot_token "${TELEGRAM_BOT_TOKEN:-}"
secret foreshock_bot_token "${FORESHOCK_BOT_TOKEN:-}"
unset TELEGRAM_BOT_TOKEN FORESHOCK_BOT_TOKEN
[ "${1:-}" != --prepare ] || exit 0

before=$(recorded image)
image=${FORESHOCK_IMAGE:-${before:-foreshock:0.1.0}}
docker image inspect "$image" >/dev/null 2>&1 || fail "there is no image $image: build it (docs/deployment.md)"
[ -z "$before" ] || [ "$before" = "$image" ] || echo "$before" >"$state/previous"
echo "$image" >"$state/image"

export FORESHOCK_IMAGE=$image
compose up --detach --remove-orphans
for service in ingest detect notify; do
    ready "$project-$service-1" 90 || fail "$service is not ready: see \`docker logs $project-$service-1\`, or undo it with rollback.sh"
done
exec scripts/deployment/health_check.sh
