#!/usr/bin/env bash
# Brings another image into service without losing an alert:
#   upgrade.sh IMAGE [SECONDS]
# First a canary: for SECONDS (default 300) the market goes on, then both images fold that part of the log, and their alerts must be the
# same ones. Then the services change one by one, an ingest of the new image listening before the old one ends. Exits 1 on a difference,
# with nothing changed, or when a service does not become ready, after going back to the image before.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

new=${1:?upgrade.sh IMAGE [SECONDS]} seconds=${2:-300}
old=$(recorded image)
[ -n "$old" ] || fail "nothing is installed: start_monitoring.sh"
docker image inspect "$new" >/dev/null 2>&1 || fail "there is no image $new"
[ "$new" != "$old" ] || fail "$new is what runs"

errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
admin() {
    FORESHOCK_IMAGE=$1 compose run --rm --no-deps --quiet-pull --no-TTY admin "${@:2}" 2>"$errors" ||
        { cat "$errors" >&2; fail "$1 does not answer to \`admin $2\`; nothing was changed"; }
}
last() { admin "$old" status --json | grep -o '"last":[0-9]*,"messages":[0-9]*,"stream":"MARKET"' | cut -d: -f2 | cut -d, -f1; }
folded() { admin "$1" replay --stream --from-seq "$from" --to-seq "$to" --json | { grep -o '"id":"[a-z2-7]*"' || true; } | sort; }

# From here on rollback.sh knows where to go back to.
echo "$old" >"$state/previous"
from=$(last)
echo "canary: the market goes on for $seconds s, from MARKET:$from"
sleep "$seconds"
to=$(last)
[ "$to" -gt "$from" ] || fail "nothing came into MARKET; is ingest running?"
before=$(folded "$old") after=$(folded "$new")
if [ "$before" != "$after" ]; then
    diff <(echo "$before") <(echo "$after") >&2 || true
    fail "$new finds other alerts than $old in MARKET:$from-$to (< old, > new); nothing was changed"
fi
echo "canary: the same $(echo "$before" | grep -c id || true) alerts in MARKET:$from-$to"

back() {
    docker rm --force "$project-ingest-upgrade" >/dev/null 2>&1 || true
    FORESHOCK_IMAGE='' scripts/deployment/rollback.sh || true
    fail "$1 of $new is not ready; went back to $old"
}
echo "$new" >"$state/image"
export FORESHOCK_IMAGE=$new
compose up --no-deps topology
compose run --detach --no-deps --name "$project-ingest-upgrade" -e FORESHOCK_INSTANCE=ingest-upgrade ingest >/dev/null
ready "$project-ingest-upgrade" 30 || back "a second ingest"
# A new socket is proven live, and the old one's last events are stored.
sleep 15
for service in ingest detect notify; do
    compose up --detach --no-deps "$service"
    ready "$project-$service-1" 30 || back "$service"
done
sleep 15
docker stop --time 15 "$project-ingest-upgrade" >/dev/null && docker rm "$project-ingest-upgrade" >/dev/null
echo "upgraded to $new; rollback.sh goes back to $old"
