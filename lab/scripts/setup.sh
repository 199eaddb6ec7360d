#!/bin/sh
# Installs what is missing: setup.sh run | bench | network | test. Says what and why; without root it prints the one command to run.
set -eu

missing= # Debian packages
need() { # PACKAGE WHY CHECK...
    package=$1 why=$2
    shift 2
    if ! "$@" >/dev/null 2>&1; then
        missing="$missing $package"
        printf '  %-16s %s\n' "$package" "$why"
    fi
}
has_postgresql() { ls /usr/lib/postgresql/*/bin/initdb; }
has_static_busybox() { has busybox && ! ldd "$(command -v busybox)"; }
# nft and ip live in sbin, which is not on everybody's PATH.
has() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1"; }

if ! command -v cargo >/dev/null; then
    echo "Rust is missing: install it from https://rustup.rs and run this again." >&2
    exit 1
fi
if [ "$1" = test ] && ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
    echo "The formatter or the linter of Rust is missing: rustup component add rustfmt clippy" >&2
    exit 1
fi
need gcc "the C compiler, for the C parts of some crates" has cc
need libc6-dev "C headers, for the same" test -e /usr/include/stdlib.h
need ca-certificates "the authorities that TLS connections are checked against" test -e /etc/ssl/certs/ca-certificates.crt
need postgresql "the database server; its system cluster is not started" has_postgresql
needed=$missing
if [ "$1" = bench ] || [ "$1" = test ]; then
    need nginx-light "a peer of the benchmarks; the machine's own is not started" has nginx
fi
if [ "$1" = bench ]; then
    need wrk "the peer of the load tester" has wrk
fi
if [ "$1" != run ] && [ "$1" != bench ]; then
    need nftables "the firewall's own check of our rules" has nft
    need iproute2 "network namespaces for the firewall's tests and the lab" has ip
    need curl "what visitors of the lab look at the site with" has curl
fi
if [ "$1" = test ]; then
    need chromium "the browser of the end-to-end tests" has chromium
    need chromium-driver "its remote control" has chromedriver
    need openssl "certificates for the tests of TLS" has openssl
    need nmap "scans the networks of the lab" has nmap
    need docker.io "a container engine behind the firewall; the machine's own is not started" has dockerd
    need busybox-static "what runs in its containers" has_static_busybox
    need s3cmd "a client of others that the storage nodes are tried with" has s3cmd
    need rclone "the same" has rclone
    need awscli "the same" has aws
    need python3-boto3 "the same" python3 -c "import boto3"
    need npm "fetches axe-core, the rules by which the browser tests judge accessibility" has npm
fi

# axe-core (MPL-2.0; a tool of the tests, nothing of it is shipped). Fetched anew when the lock file has changed.
fetch_axe() {
    lock=lab/axe/package-lock.json
    if [ lab/axe/node_modules/.package-lock.json -nt "$lock" ]; then
        return 0
    fi
    echo "Fetching axe-core for the browser tests."
    # npm has a list of authorities of its own; the machine's may know more, such as a company's.
    export NODE_EXTRA_CA_CERTS="${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}"
    if ! npm ci --prefix lab/axe --ignore-scripts --no-audit --no-fund; then
        echo "axe-core cannot be fetched: the test that needs it is skipped and named at the end." >&2
    fi
}

if [ -z "$missing" ]; then
    [ "$1" != test ] || fetch_axe
    exit 0
fi

if [ "$(id -u)" != 0 ]; then
    target=setup
    [ "$1" = run ] || target=setup-$1
    echo "The packages above are missing. This installs them:" >&2
    echo "  sudo env PATH=\"\$PATH\" HOME=\"\$HOME\" make $target" >&2
    if [ "$1" = test ] && [ -z "$needed" ] && [ "${CI:-}" != true ]; then
        echo "Going on without them: tests that need them are skipped and named at the end." >&2
        if has npm >/dev/null; then fetch_axe; fi
        exit 0
    fi
    exit 1
fi
echo "Installing the packages above."
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
case $missing in
*postgresql*)
    # postgresql-common would make and start a cluster of its own, on the usual port.
    apt-get install -qy --no-install-recommends postgresql-common
    mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/quizstack.conf
    ;;
esac
case $missing in
*nginx-light*)
    # The package would start a server on port 80, now and at each boot.
    mkdir -p /etc/systemd/system
    [ -e /etc/systemd/system/nginx.service ] || ln -s /dev/null /etc/systemd/system/nginx.service
    # Where there is no systemd, Debian starts what it installs unless this says no.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        # This shell does not run the line above when a signal ends it.
        trap 'exit 130' INT TERM HUP
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    echo "nginx is installed for the benchmarks and not started: 'systemctl unmask nginx.service' lifts that."
    apt-get install -qy --no-install-recommends nginx-light
    ;;
esac
case $missing in
*docker.io*)
    # The package would start an engine, now and at each boot, that sets up a network and rules on this machine. The tests
    # start one of their own in a namespace.
    mkdir -p /etc/systemd/system
    for unit in docker.service docker.socket containerd.service; do
        [ -e "/etc/systemd/system/$unit" ] || ln -s /dev/null "/etc/systemd/system/$unit"
    done
    echo "Docker is installed for the tests and not started: 'systemctl unmask docker.service docker.socket containerd.service' lifts that."
    # Another engine's packages are not to make room for it.
    apt-get install -qy --no-install-recommends --no-remove docker.io
    ;;
esac
# shellcheck disable=SC2086 # a list of words
apt-get install -qy --no-install-recommends $missing
# Under sudo the folder would belong to root; `make test` fetches it as the user.
if [ "$1" = test ] && [ -z "${SUDO_UID:-}" ]; then
    fetch_axe
fi
