#!/bin/sh
# Makes the base images of compose/Dockerfile and the database's, under their public names, from Debian packages and the Rust
# toolchain of this machine: for where no registry can be reached. Public images that are there are kept, and so is what was
# made of Debian; `docker image rm` has it made anew.
set -eu
cd "$(dirname "$0")/../.."

there() { docker image inspect "$1" >/dev/null 2>&1; }
# Whether it is there and not one of those below, which a build that changes nothing does not take long to renew.
public() { there "$1" && [ -z "$(docker image inspect --format '{{index .Config.Labels "quizstack.stand-in"}}' "$1")" ]; }
made() { echo "$1: made"; }

if ! there debian:trixie-slim; then
    command -v mmdebstrap >/dev/null || {
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends mmdebstrap
    }
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' | grep -v security | head -n 1)
    # Authorities that this machine was told of, such as a company's, are needed to reach the crates from within.
    mmdebstrap --variant=minbase --include=ca-certificates \
        --customize-hook='if [ -d /usr/local/share/ca-certificates ]; then cp -r /usr/local/share/ca-certificates "$1/usr/local/share/"; chroot "$1" update-ca-certificates; fi' \
        trixie - "$mirror" | docker import - debian:trixie-slim >/dev/null
    made debian:trixie-slim
fi
if ! public rust:1.95-slim-trixie; then
    docker build -q --label quizstack.stand-in=yes -t rust:1.95-slim-trixie -f compose/offline/rust.Dockerfile "$(rustc --print sysroot)"
    made rust:1.95-slim-trixie
fi
if ! public postgres:17-trixie; then
    docker build -q --label quizstack.stand-in=yes -t postgres:17-trixie -f compose/offline/postgres.Dockerfile compose/offline
    made postgres:17-trixie
fi
