#!/bin/bash
# Starts PostgreSQL as the public image does, in our own words: POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD and its _FILE,
# POSTGRES_INITDB_ARGS, PGDATA, *.sh, *.sql and *.sql.gz in /docker-entrypoint-initdb.d. Of the others none is known here.
set -euo pipefail

if [ "${1:-postgres}" != postgres ]; then
    exec "$@"
fi
if [ "$(id -u)" = 0 ]; then
    install -d -o postgres -g postgres -m 0700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    user=${POSTGRES_USER:-postgres}
    database=${POSTGRES_DB:-$user}
    password=${POSTGRES_PASSWORD:-}
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
        if [ -n "$password" ]; then
            echo "POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are both set: leave one out" >&2
            exit 1
        fi
        password=$(<"$POSTGRES_PASSWORD_FILE")
    fi
    if [ -z "$password" ]; then
        echo "The database has no password: set POSTGRES_PASSWORD_FILE (or POSTGRES_PASSWORD)" >&2
        exit 1
    fi
    # Under another name until it is whole, so that what was cut off is not taken for a cluster. A mount cannot be renamed.
    final=$PGDATA
    mountpoint --quiet "$PGDATA" || PGDATA=$PGDATA.begun
    [ "$PGDATA" = "$final" ] || rm -rf "$PGDATA"
    # shellcheck disable=SC2086 # a list of words
    initdb --username="$user" --pwfile=<(printf '%s\n' "$password") --auth-local=trust --auth-host=scram-sha-256 \
        ${POSTGRES_INITDB_ARGS:-} --pgdata="$PGDATA"
    printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
    # Nobody else can connect yet.
    pg_ctl --pgdata="$PGDATA" --options="-c listen_addresses=''" --wait start
    sql() { psql --variable=ON_ERROR_STOP=1 --no-psqlrc --username="$user" "$@"; }
    if [ "$database" != postgres ]; then
        sql --dbname=postgres --variable=db="$database" <<<'CREATE DATABASE :"db";'
    fi
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
        *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
        *.sql) sql --dbname="$database" --file="$file" ;;
        *.sql.gz) gunzip --stdout "$file" | sql --dbname="$database" ;;
        esac
    done
    pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
    [ "$PGDATA" = "$final" ] || mv "$PGDATA" "$final"
    export PGDATA=$final
fi
# The package's own default is the local host alone.
exec "$@" -c listen_addresses='*'
