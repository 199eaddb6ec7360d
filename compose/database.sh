# Makes the user and the database of the front-ends, in a cluster that has just been made; read by the image's entrypoint.
psql --variable=ON_ERROR_STOP=1 --no-psqlrc --username=postgres --dbname=postgres \
    --variable=password="$(cat /run/secrets/database_password)" <<'SQL'
CREATE ROLE quiz LOGIN PASSWORD :'password';
CREATE DATABASE quiz OWNER quiz;
SQL
