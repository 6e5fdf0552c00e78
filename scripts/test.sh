#!/usr/bin/env bash
# Every check and test: format, clippy, docs, unit, property, golden, simulation, end to end with a real nats-server.
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
for script in scripts/*.sh scripts/*/*.sh .ci/run; do bash -n "$script"; done
step "tests"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
status=0
cargo test --locked --workspace --no-fail-fast 2>&1 | tee "$log" || status=$?
awk '/^test result:/ { passed += $4; failed += $6 } END { printf "\n%d passed, %d failed\n", passed, failed }' "$log"
exit "$status"
