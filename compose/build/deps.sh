#!/bin/sh
# Installs what is missing of an engine, Compose v2 and buildx on Debian 12 or newer, and starts the engine.
set -eu

if [ "$(id -u)" != 0 ]; then
    echo "This installs packages and starts a service: sudo make deps-docker" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# An engine that is there may have sent its packages' lists away.
updated=
update() { [ -n "$updated" ] || apt-get update -q; updated=1; }

if ! command -v dockerd >/dev/null; then
    echo "Installing the container engine."
    update
    apt-get install -qy --no-install-recommends --no-remove docker.io
fi

# Debian 12 has no Compose v2 and no buildx; those of Debian 13 are programs of one file, linked to nothing that is not in 12.
# They are fetched as any package is, with its signature, and unpacked where the client looks for plugins.
plugins=/usr/local/lib/docker/cli-plugins
from_debian_13() { # PLUGIN...
    echo "Fetching from Debian 13: $*"
    update
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' | grep -v security | head -n 1)
    apt=$(mktemp -d)
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$apt/sources.list"
    set_apt="-o Dir::Etc::SourceList=$apt/sources.list -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists=$apt/lists -o Dir::Cache=$apt/cache -o APT::Sandbox::User=root"
    # shellcheck disable=SC2086 # a list of options
    apt-get $set_apt update -q
    mkdir -p "$plugins"
    for plugin; do
        # shellcheck disable=SC2086
        (cd "$apt" && apt-get $set_apt download -q "$plugin")
        dpkg-deb --fsys-tarfile "$apt/$plugin"_*.deb | tar --extract --to-stdout "./usr/libexec/docker/cli-plugins/$plugin" >"$apt/$plugin"
        install "$apt/$plugin" "$plugins/$plugin"
    done
    rm -rf "$apt"
}
lacking=
docker compose version >/dev/null 2>&1 || lacking="$lacking docker-compose"
docker buildx version >/dev/null 2>&1 || lacking="$lacking docker-buildx"
# shellcheck disable=SC2086 # a list of words
[ -z "$lacking" ] || from_debian_13 $lacking

if docker version >/dev/null 2>&1; then
    exit 0
fi
if [ -d /run/systemd/system ]; then
    # The tests install an engine and keep it from starting (lab/scripts/setup.sh).
    systemctl unmask docker.service docker.socket containerd.service
    systemctl enable --now docker.service
else
    echo "No init system runs here: starting the engine by hand; its log is /var/log/dockerd.log."
    # An engine that was killed leaves the numbers of its processes, which others may have by now: it would wait for them.
    for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
        [ ! -e "$file" ] || grep -qE 'dockerd|containerd' "/proc/$(cat "$file")/comm" 2>/dev/null || rm "$file"
    done
    setsid dockerd >/var/log/dockerd.log 2>&1 </dev/null &
fi
left=60
until docker version >/dev/null 2>&1; do
    left=$((left - 1))
    if [ "$left" = 0 ]; then
        echo "The engine does not answer after a minute: see its log (journalctl -u docker, or /var/log/dockerd.log)." >&2
        exit 1
    fi
    sleep 1
done
