#!/bin/sh
# Renews .sqlx: makes the schema in the empty database of DATABASE_URL and lets sqlx's macros write down each query.
set -eu
for migration in quiz/migrations/*.up.sql; do
    psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --file="$migration" "$DATABASE_URL"
done
mkdir -p .sqlx
rm -f .sqlx/query-*.json
# The macros run only when the crate is compiled anew.
touch quiz/src/lib.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$PWD/.sqlx cargo check -p quiz-web --locked
