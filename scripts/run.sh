#!/usr/bin/env bash
# Sets up what is missing, then `foreshock up`:
#   scripts/run.sh                               the live venues
#   scripts/run.sh --demo                        a simulated market
#   scripts/run.sh --replay FILE --venue VENUE   a recording through the whole pipeline
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# One target folder outside the clone, so that a second clone compiles nothing again.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/foreshock/target}"

[ -n "${NATS_URL:-}" ] || "$here/scripts/setup.sh"
cargo build --quiet --locked --release --manifest-path "$here/Cargo.toml" --bin foreshock
# Where setup.sh puts nats-server, which is found on PATH.
PATH="$PATH:$here/.tools" exec "$CARGO_TARGET_DIR/release/foreshock" up "$@"
