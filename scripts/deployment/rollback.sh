#!/usr/bin/env bash
# Undoes, from any state and without questions, in under a minute:
#   rollback.sh            to the image that ran before, where one is recorded; else removes everything
#   rollback.sh --remove   removes containers and networks; streams, secrets and images stay
#   rollback.sh --purge    removes the streams and secrets too
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case "${1:-}" in
    "" | --remove | --purge) ;;
    *) fail "unknown option $1; see the head of this script" ;;
esac
previous=$(recorded previous)
if [ -z "${1:-}" ] && [ -n "$previous" ] && docker image inspect "$previous" >/dev/null 2>&1; then
    # Another container of the upgrade may still run.
    docker rm --force "$project-ingest-upgrade" >/dev/null 2>&1 || true
    echo "$previous" >"$state/image"
    rm -f "$state/previous"
    export FORESHOCK_IMAGE=$previous
    compose up --detach --remove-orphans
    for service in ingest detect notify; do
        ready "$project-$service-1" 45 || fail "$service of $previous is not ready; rollback.sh --remove removes everything"
    done
    echo "back at $previous"
    exit 0
fi

containers=$(ours container --all)
if [ -n "$containers" ]; then
    # A paused container hears no signal.
    # shellcheck disable=SC2086
    for container in $containers; do docker unpause "$container" >/dev/null 2>&1 || true; done
    docker stop --time 15 $containers >/dev/null 2>&1 || true
    docker rm --force $containers >/dev/null
fi
networks=$(ours network)
# shellcheck disable=SC2086
[ -z "$networks" ] || docker network rm $networks >/dev/null
rm -f "$state/previous"
if [ "${1:-}" = --purge ]; then
    volumes=$(ours volume)
    # shellcheck disable=SC2086
    [ -z "$volumes" ] || docker volume rm $volumes >/dev/null
    rm -rf "$FORESHOCK_SECRETS" "$state"
    echo "removed, with its data"
else
    echo "removed; its data stays: $(ours volume | tr '\n' ' ')"
fi
