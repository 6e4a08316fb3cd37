#!/bin/sh
# The service's own database and user, made once, when the data folder is new. The user owns that database, as its
# migrations need, and has no other right: no superuser, no further databases or roles, and nobody else may connect.
set -eu
psql --set=ON_ERROR_STOP=1 --set=password="${DATABASE_PASSWORD:?}" --username="${POSTGRES_USER:-postgres}" --dbname=postgres <<'SQL'
CREATE ROLE inventory LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE inventory OWNER inventory;
REVOKE ALL ON DATABASE inventory FROM PUBLIC;
SQL
