# shellcheck shell=bash
# The part of hack/servers.sh that is about PostgreSQL, which is the system's and can't run as root. Sourced, not run: it
# uses the functions and variables of its caller.

# postgres_bin prints the folder of initdb and pg_ctl.
postgres_bin() {
  local dir
  if command -v initdb >/dev/null && command -v pg_ctl >/dev/null; then
    dirname "$(readlink -f "$(command -v pg_ctl)")"
    return 0
  fi
  for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql*/bin | sort -rV); do
    if [[ -x $dir/initdb && -x $dir/pg_ctl ]]; then
      echo "$dir"
      return 0
    fi
  done
  return 1
}

# postgres_user prints whom the server runs as: PostgreSQL refuses to run as root.
postgres_user() {
  if [[ $(id -u) -ne 0 ]]; then
    id -un
  elif id postgres >/dev/null 2>&1; then
    echo postgres
  else
    echo nobody
  fi
}

as_postgres() {
  if [[ $(id -u) -eq 0 ]]; then
    (cd / && runuser -u "$(postgres_user)" -- "$@")
  else
    "$@"
  fi
}

# postgres_home prints the server's folder: in $DIR, or in the folder for temporary files where the user that PostgreSQL
# runs as may not enter $DIR (a checkout in root's home).
postgres_home() {
  if as_postgres test -x "$DIR" 2>/dev/null; then
    echo "$DIR/postgres"
  else
    echo "${TMPDIR:-/tmp}/bucketmesh-postgres-$(printf '%s' "$DIR" | cksum | cut -d' ' -f1)"
  fi
}

install_postgres() {
  local mend="install PostgreSQL, so that initdb and pg_ctl are on PATH"
  postgres_bin >/dev/null && return 0
  apt_install "$mend" postgresql
  postgres_bin >/dev/null || die "PostgreSQL was installed, but initdb was not found: $mend"
}

up_postgres() {
  local home bin
  home=$(postgres_home)
  bin=$(postgres_bin)
  mkdir -p "$home"
  touch "$DIR/postgres.log"
  if [[ $(id -u) -eq 0 ]]; then
    chown "$(postgres_user)" "$home" "$DIR/postgres.log"
  fi
  if [[ ! -f $home/data/PG_VERSION ]]; then
    if ! as_postgres "$bin/initdb" -D "$home/data" -U bucketmesh --auth=trust -E UTF8 --locale=C --no-sync >"$DIR/initdb.log" 2>&1; then
      tail_log "$DIR/initdb.log"
      die "cannot make a PostgreSQL data folder in $home"
    fi
    # Tests need no durability against a power cut, and TCP is enough for them.
    as_postgres tee -a "$home/data/postgresql.conf" >/dev/null <<CONF
unix_socket_directories = ''
max_connections = 200
fsync = off
synchronous_commit = off
full_page_writes = off
CONF
  fi
  # The rest of the network may connect only where the server is told to listen there.
  grep -q '^host all all samenet' "$home/data/pg_hba.conf" || as_postgres tee -a "$home/data/pg_hba.conf" <<<'host all all samenet trust' >/dev/null
  # The server's log is opened by its own user, which may not enter $DIR: hence the redirection here.
  if ! as_postgres "$bin/pg_ctl" start -D "$home/data" -w -t "$START_TIMEOUT" -o "-h $HOST -p $(port postgres)" >>"$DIR/postgres.log" 2>&1 </dev/null; then
    tail_log "$DIR/postgres.log"
    die "cannot start PostgreSQL"
  fi
}
