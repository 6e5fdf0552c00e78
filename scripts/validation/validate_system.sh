#!/usr/bin/env bash
# May foreshock stay beside the existing system? A table of go and no-go; exits 1 on any no-go.
#   EXISTING_URL=http://127.0.0.1:8001 validate_system.sh
# A rollback is rehearsed by a second installation of the same image under a name of its own, which is started halfway and purged.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ -e "$baseline" ] || fail "there is no baseline at $baseline: capture_baseline.sh"
rehearse() (
    export FORESHOCK_IMAGE=${FORESHOCK_IMAGE:-$(recorded image)}
    export FORESHOCK_PROJECT=$project-rehearsal FORESHOCK_STATE=$state/rehearsal FORESHOCK_SECRETS=$FORESHOCK_SECRETS/rehearsal
    export FORESHOCK_INGEST_PORT=19481 FORESHOCK_NOTIFY_PORT=19483 FORESHOCK_COMPOSE_FILES= FORESHOCK_NETWORK=
    unset TELEGRAM_BOT_TOKEN FORESHOCK_BOT_TOKEN
    timeout 20 scripts/deployment/start_monitoring.sh --alone >/dev/null 2>&1 || true
    began=$SECONDS
    timeout 120 scripts/deployment/rollback.sh --purge >/dev/null && [ -z "$(docker ps --all --quiet --filter "label=com.docker.compose.project=$FORESHOCK_PROJECT")" ] &&
        echo $((SECONDS - began))
)
took=$(rehearse || true)
validate system --baseline "$baseline" --ingest "http://127.0.0.1:${FORESHOCK_INGEST_PORT:-9181}" \
    --notify "http://127.0.0.1:${FORESHOCK_NOTIFY_PORT:-9183}" ${took:+--rollback-seconds "$took"} "$@"
