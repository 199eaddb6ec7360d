#!/bin/sh
# Makes the schema in the empty database of DATABASE_URL and lets sqlx's macros write down each query.
# `sqlx.sh` renews .sqlx; `sqlx.sh check` compares with it, and undoes the migrations to see that they can be.
set -eu
migrate() {
    for migration in "$@"; do
        psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --file="$migration" "$DATABASE_URL"
    done
}
folder=$PWD/.sqlx
if [ "${1:-}" = check ]; then
    folder=$(mktemp -d)
fi
stamp=$(mktemp)
touch -r quiz/src/lib.rs "$stamp"
# The old time is given back, so that nothing else is built anew.
trap 'touch -r "$stamp" quiz/src/lib.rs; rm -f "$stamp"; [ "$folder" = "$PWD/.sqlx" ] || rm -rf "$folder"' EXIT

migrate quiz/migrations/*.up.sql
mkdir -p "$folder"
rm -f "$folder"/query-*.json
# The macros run only when the crate is compiled anew.
touch quiz/src/lib.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$folder cargo check -p quiz-web --locked
if [ "${1:-}" = check ]; then
    diff -r .sqlx "$folder" || {
        echo "The queries or the migrations have changed: run make sqlx and commit .sqlx." >&2
        exit 1
    }
    # shellcheck disable=SC2046 # names without spaces
    migrate $(printf '%s\n' quiz/migrations/*.down.sql | sort -r)
fi
