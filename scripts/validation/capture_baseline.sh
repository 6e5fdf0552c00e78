#!/usr/bin/env bash
# Keeps what the existing system is, before foreshock starts or while it runs: containers, images, digests of configurations,
# networks, memory, and keys, types and latencies of its answers.
#   EXISTING_URL=http://127.0.0.1:8001 capture_baseline.sh [--bot-commands]
# EXISTING_URL is the existing market-data service; without it its answers are left out. EXISTING_PROJECT is its Compose project; without it
# everything on this host that is not foreshock's is kept. --bot-commands also keeps the bot's menu
# (one reading call with TELEGRAM_BOT_TOKEN). The baseline lies in .deployment/baseline.json, or in FORESHOCK_BASELINE.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

validate capture --out "$baseline" "$@"
