# What the scripts of this folder share; sourced by them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Another name keeps a second installation (a test) apart.
project=${FORESHOCK_PROJECT:-foreshock}
# Which image runs and which ran before it, and the secrets.
state=${FORESHOCK_STATE:-.deployment}
export FORESHOCK_SECRETS=${FORESHOCK_SECRETS:-$PWD/.secrets}

fail() { echo "$(basename "$0"): $*" >&2; exit 1; }
recorded() { cat "$state/$1" 2>/dev/null || true; }

command -v docker >/dev/null && docker info >/dev/null 2>&1 || fail "the Docker engine does not answer"

# Compose v2, as a plugin or as a program of its own; FORESHOCK_COMPOSE names another.
if [ -n "${FORESHOCK_COMPOSE:-}" ]; then compose_program=("$FORESHOCK_COMPOSE")
elif docker compose version >/dev/null 2>&1; then compose_program=(docker compose)
elif docker-compose version --short 2>/dev/null | grep -q '^v\?2'; then compose_program=(docker-compose)
else fail "Compose v2 is missing: install the plugin, or name the program in FORESHOCK_COMPOSE"; fi

# Further files, separated by spaces, go in FORESHOCK_COMPOSE_FILES. A network that was joined stays joined.
compose() {
    local files=(-f docker-compose.monitoring.yml)
    export FORESHOCK_NETWORK=${FORESHOCK_NETWORK:-$(recorded network)}
    [ -z "$FORESHOCK_NETWORK" ] || files+=(-f scripts/deployment/network.yml)
    local profiles=()
    if [ -n "$(recorded cluster)" ]; then
        profiles+=(--profile cluster)
        export FORESHOCK_REPLICAS=3 FORESHOCK_NATS_CONF=/etc/nats/cluster.conf FORESHOCK_NATS_VOLUME=cluster-1-data
        export FORESHOCK_NATS_URL=nats://nats:4222,nats://nats-2:4222,nats://nats-3:4222
        export FORESHOCK_NATS_MEMORY=${FORESHOCK_NATS_MEMORY:-96m} FORESHOCK_NATS_GOMEMLIMIT=${FORESHOCK_NATS_GOMEMLIMIT:-80MiB}
    fi
    [ -z "$(recorded monitoring)" ] || profiles+=(--profile monitoring)
    for file in ${FORESHOCK_COMPOSE_FILES:-}; do files+=(-f "$file"); done
    [ ! -s "$FORESHOCK_SECRETS/telegram_bot_token" ] || export FORESHOCK_SHARED_TOKEN=1
    [ ! -s "$FORESHOCK_SECRETS/foreshock_bot_token" ] || export FORESHOCK_OWN_TOKEN=1
    FORESHOCK_IMAGE=${FORESHOCK_IMAGE:-$(recorded image)} "${compose_program[@]}" -p "$project" "${files[@]}" "${profiles[@]}" "$@"
}

# Everything of ours has this label, which Compose sets itself.
ours() { docker "$1" ls --quiet ${2:-} --filter "label=com.docker.compose.project=$project"; }

# Waits until a container says that it is ready; asks it directly, for Docker asks only every 30 s.
ready() {
    local container=$1 deadline=$((SECONDS + ${2:-60}))
    until docker exec "$container" /foreshock health >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 1
    done
}
