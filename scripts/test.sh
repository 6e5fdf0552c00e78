#!/usr/bin/env bash
# Every check and test: format, clippy, docs, unit, property, golden, simulation, end to end with a real nats-server, alert rules and dashboard
# with a real Prometheus, and the composition with the Docker engine where there is one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# One target folder outside the clone, so that a second clone compiles nothing again.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/foreshock/target}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}" CARGO_INCREMENTAL="${CARGO_INCREMENTAL:-0}"

step() { printf '\n== %s\n' "$*"; }

step "setup"
scripts/setup.sh
step "format"
cargo fmt --all --check
step "clippy"
cargo clippy --locked --workspace --all-targets -- --deny warnings
step "docs"
RUSTDOCFLAGS="--deny warnings" cargo doc --locked --workspace --no-deps --document-private-items
step "scripts"
for script in scripts/*.sh scripts/*/*.sh tests/*/run.sh .ci/run; do bash -n "$script"; done
step "tests"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
status=0
run() { "$@" 2>&1 | tee -a "$log" || status=$?; }
run cargo test --locked --workspace --no-fail-fast
step "rules and dashboard with a real Prometheus"
run tests/monitoring/run.sh
step "the composition with the real Docker engine"
if docker info >/dev/null 2>&1; then
    run cargo build --locked --release --bin foreshock
fi
run tests/docker/run.sh

step "report"
# JUnit and one page for people, beside what was built.
python3 scripts/report.py "$log" "$CARGO_TARGET_DIR/report"
grep '^!!! NOT RUN' "$log" || true
awk '/^test result:/ { passed += $4; failed += $6 } END { printf "\n%d passed, %d failed\n", passed, failed }' "$log"
exit "$status"
