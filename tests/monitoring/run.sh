#!/usr/bin/env bash
# Alert rules and dashboard with a real Prometheus: the rules' own tests, then a running system with simulated venues, of which every
# expression of the dashboard must return data and every metric of a rule must be known. About two minutes. Needs apt-get (Debian) and
# a binary (FORESHOCK_BINARY, default: the debug build).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

prometheus=.tools/prometheus
if [ ! -x $prometheus/prometheus ]; then
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        echo "!!! NOT RUN: tests/monitoring, for Prometheus comes out of a Debian package and apt-get is missing"
        exit 0
    fi
    unpacked=$(mktemp -d)
    download() { apt-get --quiet=2 --option APT::Sandbox::User=root download prometheus; }
    # A fresh machine has no lists of packages yet.
    if ! (cd "$unpacked" && { download 2>/dev/null || { apt-get --quiet=2 update && download; }; } && dpkg-deb --extract prometheus_*.deb .); then
        echo "!!! NOT RUN: tests/monitoring, for the Debian package of Prometheus cannot be downloaded"
        exit 0
    fi
    mkdir -p $prometheus && cp "$unpacked"/usr/bin/{prometheus,promtool} $prometheus/
    rm -rf "$unpacked"
fi

target=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/foreshock/target}
foreshock=${FORESHOCK_BINARY:-$target/debug/foreshock}
unset FORESHOCK_BINARY
work=$(mktemp -d)
passed=0
finish() {
    status=$?
    kill $(jobs -p) 2>/dev/null || true
    wait 2>/dev/null || true
    if [ $status -ne 0 ]; then tail -5 "$work"/*.log || true; fi
    rm -rf "$work"
    [ $status -eq 0 ] && echo "test result: ok. $passed passed; 0 failed" || echo "test result: FAILED. $passed passed; 1 failed"
    exit $status
}
trap finish EXIT
ok() { passed=$((passed + 1)); echo "ok: $*"; }

$prometheus/promtool check rules scripts/monitoring/rules.yml >"$work/check.log"
$prometheus/promtool check config --syntax-only scripts/monitoring/prometheus.yml >"$work/check.log"
$prometheus/promtool test rules scripts/monitoring/rules_test.yml >"$work/check.log"
untested=$(sed -n 's/.*- alert: //p' scripts/monitoring/rules.yml | while read -r name; do grep -q "alertname: $name" scripts/monitoring/rules_test.yml || echo "$name"; done)
[ -z "$untested" ] || { echo "no test of $untested"; exit 1; }
for entry in $(sed -n 's/.*runbook: docs.operations.md#//p' scripts/monitoring/rules.yml | sort --unique); do
    grep -i '^### ' docs/operations.md | tr 'A-Z ' 'a-z-' | tr -d "'" | grep -q -- "-$entry\$" || { echo "docs/operations.md has no entry $entry"; exit 1; }
done
ok "rules, their tests, an entry of the runbook for each"

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
market=$(free_port) page=$(free_port) api=$(free_port)
"$foreshock" simulate --port "$market" >"$work/market.log" 2>&1 &
export TELEGRAM_BOT_TOKEN=123456:test-token-of-no-bot TELEGRAM_CHAT_ID=4242 FORESHOCK_CANARY=1s
for venue in BINANCE BYBIT OKX; do
    export "FORESHOCK_${venue}_WS_URL=ws://127.0.0.1:$market/${venue,,}" "FORESHOCK_${venue}_REST_URL=http://127.0.0.1:$market/${venue,,}"
done
export FORESHOCK_TELEGRAM_API_URL=http://127.0.0.1:$market/telegram
PATH=$PWD/.tools:$PATH "$foreshock" up --state-dir "$work/state" --http-listen "127.0.0.1:$page" --log-format json >"$work/foreshock.log" 2>&1 &

# One process stands for the three services here.
sed "s/\"[a-z]*:9180\"/\"127.0.0.1:$page\"/; s/: 15s/: 1s/; s|rules.yml|$PWD/scripts/monitoring/rules.yml|" scripts/monitoring/prometheus.yml >"$work/prometheus.yml"
$prometheus/prometheus --config.file "$work/prometheus.yml" --storage.tsdb.path "$work/data" --web.listen-address "127.0.0.1:$api" >"$work/prometheus.log" 2>&1 &

python3 tests/monitoring/expressions.py "http://127.0.0.1:$api" scripts/monitoring/grafana/dashboard.json scripts/monitoring/rules.yml
ok "every expression of the dashboard has data, every metric of a rule is known"
