#!/usr/bin/env bash
# Compares the existing system with its baseline; exits 1 when something changed or became slower.
#   EXISTING_URL=http://127.0.0.1:8001 regression_check.sh [--watch 60s]
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ -e "$baseline" ] || fail "there is no baseline at $baseline: capture_baseline.sh"
validate check --baseline "$baseline" "$@"
