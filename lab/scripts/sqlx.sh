#!/bin/sh
# Renews .sqlx against the empty database of DATABASE_URL.
set -eu
for migration in quiz/migrations/*.sql; do
    psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --file="$migration" "$DATABASE_URL"
done
