# What the commands in compose/bin have in common; sourced by them. They run in the root of the repository, where Compose
# finds compose.yaml and .env.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { printf '%s\n' "$*" >&2; }
die() {
    say "$(basename "$0"): $*"
    exit 1
}

compose() { docker compose "$@"; }

# One command at a time changes the stack; the lock goes when the command ends, however it does.
take_turn() {
    exec 9<compose
    flock --nonblock 9 || die "another command is at work on this stack: wait for its end"
}

# Front-ends that run, and what the balancer knows each one by.
front_ends() { compose ps --quiet quiz; }
address() { # CONTAINER
    docker inspect --format '{{range $name, $network := .NetworkSettings.Networks}}{{$name}} {{$network.IPAddress}}{{"\n"}}{{end}}' "$1" |
        awk '$1 ~ /_front$/ {print $2 ":3000"}'
}
balancer() { compose exec -T lb /usr/bin/quiz-lb ctl "$@"; }

# Waits until the balancer sends requests to all these front-ends: healthy CONTAINER...
# Says whether it came to that within $WAIT_SECS (120).
healthy() {
    local deadline=$((SECONDS + ${WAIT_SECS:-120})) container state lacking table
    while :; do
        lacking=0
        table=$(balancer status 2>/dev/null) || table=
        for container; do
            state=$(docker inspect --format '{{.State.Status}}' "$container" 2>/dev/null) || state=gone
            if [ "$state" != running ] && [ "$state" != restarting ]; then
                say "  $(name "$container") is $state"
                return 1
            fi
            awk -v address="$(address "$container")" '$1 == address && $2 == "healthy" {found = 1} END {exit !found}' <<<"$table" ||
                lacking=$((lacking + 1))
        done
        progress "  $(($# - lacking)) of $# front-ends get requests"
        if [ "$lacking" = 0 ]; then
            return 0
        fi
        if [ "$SECONDS" -ge "$deadline" ]; then
            return 1
        fi
        sleep 0.5
    done
}
name() { docker inspect --format '{{.Name}}' "$1" 2>/dev/null | sed 's|^/||' || printf '%s' "$1"; }

# A line of progress, once for each thing it says.
said=
progress() {
    [ "$said" = "$1" ] || say "$1"
    said=$1
}

# Whether there is such an image, here or in the registry it is named for; those under localhost are in none.
obtain() { # IMAGE
    docker image inspect "$1" >/dev/null 2>&1 || { [[ $1 != localhost/* ]] && docker pull --quiet "$1"; }
}

# Keeps a setting in .env, from which Compose takes it the next time: keep NAME VALUE
keep() {
    touch .env
    cp --preserve .env .env.new
    { grep -v "^$1=" .env || true; printf '%s=%s\n' "$1" "$2"; } >.env.new
    mv .env.new "$(realpath .env)"
}
