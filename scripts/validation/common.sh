# What the scripts of this folder share; sourced by them, after the deployment's own.
. "$(dirname "${BASH_SOURCE[0]}")/../deployment/common.sh"

baseline=${FORESHOCK_BASELINE:-$state/baseline.json}

# The program itself on this host: FORESHOCK_BINARY, or the one in the image that is installed.
program() {
    if [ -n "${FORESHOCK_BINARY:-}" ]; then echo "$FORESHOCK_BINARY"; return; fi
    local image=${FORESHOCK_IMAGE:-$(recorded image)} into=$state/foreshock container
    image=${image:-foreshock:0.1.0}
    mkdir -p "$state"
    container=$(docker create "$image") || fail "there is no image $image: build it (docs/deployment.md)"
    docker cp "$container:/foreshock" "$into" >/dev/null
    docker rm "$container" >/dev/null
    echo "$into"
}

validate() {
    local what=$1 foreshock; shift
    foreshock=$(program)
    mkdir -p "$state"
    # The variables of the scripts and services are no configuration of this command.
    env -i PATH="$PATH" HOME="$HOME" ${DOCKER_HOST:+DOCKER_HOST="$DOCKER_HOST"} \
        ${TELEGRAM_BOT_TOKEN:+TELEGRAM_BOT_TOKEN="$TELEGRAM_BOT_TOKEN" TELEGRAM_CHAT_ID="${TELEGRAM_CHAT_ID:-0}"} \
        ${FORESHOCK_TELEGRAM_API_URL:+FORESHOCK_TELEGRAM_API_URL="$FORESHOCK_TELEGRAM_API_URL"} \
        "$foreshock" validate "$what" --project "$project" ${EXISTING_URL:+--url "$EXISTING_URL"} \
        ${EXISTING_PROJECT:+--existing "$EXISTING_PROJECT"} "$@"
}
