#!/usr/bin/env bash
#
# PostgreSQL in its container: makes the database at the first start, and listens on a socket alone.
#
#   postgresql.sh SOCKET_FOLDER
#
# The kernel says who asks (peer authentication): root of this machine is `isolation`, and so is the account that this
# runs as, for `pg_isready`; nobody else is anybody. So there is no password, and no port.

set -euo pipefail

DATA=/var/lib/postgresql/data
bin="$(echo /usr/lib/postgresql/*/bin)"

if ! [ -e "$DATA" ]; then
    new="$DATA.new"
    rm -rf "$new" # a first start that was cut off
    "$bin/initdb" --pgdata "$new" --username postgres --auth peer --encoding UTF8 --locale C.UTF-8 --data-checksums
    printf 'local isolation isolation peer map=ours\n' >"$new/pg_hba.conf"
    printf 'ours %s isolation\n' root postgres >"$new/pg_ident.conf"
    "$bin/postgres" --single -D "$new" postgres <<'SQL'
CREATE ROLE isolation LOGIN
CREATE DATABASE isolation OWNER isolation
SQL
    sync
    mv "$new" "$DATA"
fi

exec "$bin/postgres" -D "$DATA" -c listen_addresses= -c unix_socket_directories="$1" -c max_connections=200
