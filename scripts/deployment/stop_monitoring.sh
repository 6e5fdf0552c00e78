#!/usr/bin/env bash
# Stops foreshock. Streams, secrets and images stay; start_monitoring.sh goes on from there.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

compose stop
