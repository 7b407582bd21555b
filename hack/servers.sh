#!/usr/bin/env bash
# Real servers for tests and for trying things out, on loopback, in a folder of their own.
#
#   hack/servers.sh up [SERVER...]      install (once, pinned), start and wait until healthy; does nothing twice
#   hack/servers.sh down [SERVER...]    stop what this script started, and only that
#   hack/servers.sh restart SERVER...   down, then up, with the data kept
#   hack/servers.sh wipe                down, then remove the data
#   hack/servers.sh status              one line per server; exit code 1 if one of them is not healthy
#   hack/servers.sh install [SERVER...] only install: "up" needs no network then
#   hack/servers.sh azurite             install Azurite (once, pinned), and print the path of its program
#   hack/servers.sh env                 shell lines to be read with: eval "$(hack/servers.sh env)"
#
# SERVER is one of the names below, or minio for both of MinIO's; none means all. A restart keeps what a server has on
# disk; those marked "memory" begin empty. Ports are counted from the base: base + 0 is the normalizer's, base + 5 is the
# HTTP address of "bucketmesh up" in hack/e2e.sh, base + 12 to 19 are free.
#
#   minio-a     +1   S3, sends notifications
#   minio-b     +2   S3, sends notifications
#   versitygw   +3   S3, sends notifications
#   postgres    +4   state
#   fake-gcs    +6   Google Cloud Storage; tells the topic at pubsub of every change (memory: on disk it knows no versions)
#   azurite     +7   Azure Blob Storage; +8 Queue Storage; +9 its tables, which nobody uses
#   sqs         +10  SQS and SNS (memory)
#   pubsub      +11  Pub/Sub, with the topic and the subscription that "env" names (memory)
#
# Environment:
#   BUCKETMESH_CACHE            installed programs are in its bin/      (default: .cache in the checkout)
#   BUCKETMESH_SERVERS_DIR      data, logs and pid files                (default: servers/ in the cache)
#   BUCKETMESH_PORT_BASE        first of twenty ports                   (default: 19000)
#   BUCKETMESH_NORMALIZER_PORT  where notifications are sent            (default: the base)
#   BUCKETMESH_NORMALIZER_URL   where MinIO sends its own               (default: http://127.0.0.1:PORT)
#   BUCKETMESH_SERVERS_HOST     address that all but sqs listen at      (default: 127.0.0.1; only in a network of one's own)
#   BUCKETMESH_MINIO_A_PORT, BUCKETMESH_MINIO_B_PORT, BUCKETMESH_VERSITYGW_PORT, BUCKETMESH_POSTGRES_PORT, BUCKETMESH_GCS_PORT,
#   BUCKETMESH_AZURE_BLOB_PORT, BUCKETMESH_AZURE_QUEUE_PORT, BUCKETMESH_AZURE_TABLE_PORT, BUCKETMESH_SQS_PORT,
#   BUCKETMESH_PUBSUB_PORT                               (as above)
#   BUCKETMESH_S3_ACCESS_KEY, BUCKETMESH_S3_SECRET_KEY   credentials of all S3 servers and of SQS; Azurite's key is made from them
#   BUCKETMESH_NOTIFY_TOKEN     what the senders of notifications prove themselves with
#   BUCKETMESH_START_TIMEOUT    seconds to wait for one server          (default: 60)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/hack/postgres.sh"

MINIO_PIN=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
VERSITYGW_PIN=github.com/versity/versitygw/cmd/versitygw@v1.8.0
FAKE_GCS_PIN=github.com/fsouza/fake-gcs-server@v1.56.1
# Azurite's and fauxqs' versions are in hack/node/package-lock.json.

DIR=${BUCKETMESH_SERVERS_DIR:-$CACHE/servers}
BASE=${BUCKETMESH_PORT_BASE:-19000}
NORMALIZER_PORT=${BUCKETMESH_NORMALIZER_PORT:-$BASE}
NORMALIZER_URL=${BUCKETMESH_NORMALIZER_URL:-http://127.0.0.1:$NORMALIZER_PORT}
HOST=${BUCKETMESH_SERVERS_HOST:-127.0.0.1}
START_TIMEOUT=${BUCKETMESH_START_TIMEOUT:-60}
ACCESS_KEY=${BUCKETMESH_S3_ACCESS_KEY:-bucketmesh}
SECRET_KEY=${BUCKETMESH_S3_SECRET_KEY:-bucketmesh-secret}
TOKEN=${BUCKETMESH_NOTIFY_TOKEN:-bucketmesh-notify}
AZURE_ACCOUNT=bucketmesh
AZURE_KEY=$(printf '%s/%s' "$ACCESS_KEY" "$SECRET_KEY" | base64 | tr -d '\n') # ours, so that no well-known key is in use
TOPIC=projects/$ACCESS_KEY/topics/gcs
SUBSCRIPTION=projects/$ACCESS_KEY/subscriptions/gcs
ALL=(minio-a minio-b versitygw postgres pubsub fake-gcs azurite sqs) # fake-gcs sends to pubsub, which is first

mkdir -p "$DIR"
DIR=$(cd "$DIR" && pwd -P) # absolute: versitygw mistakes relative folders for nested ones

port() {
  case $1 in
    minio-a) echo "${BUCKETMESH_MINIO_A_PORT:-$((BASE + 1))}" ;;
    minio-b) echo "${BUCKETMESH_MINIO_B_PORT:-$((BASE + 2))}" ;;
    versitygw) echo "${BUCKETMESH_VERSITYGW_PORT:-$((BASE + 3))}" ;;
    postgres) echo "${BUCKETMESH_POSTGRES_PORT:-$((BASE + 4))}" ;;
    fake-gcs) echo "${BUCKETMESH_GCS_PORT:-$((BASE + 6))}" ;;
    azurite) echo "${BUCKETMESH_AZURE_BLOB_PORT:-$((BASE + 7))}" ;;
    azurite-queue) echo "${BUCKETMESH_AZURE_QUEUE_PORT:-$((BASE + 8))}" ;;
    azurite-table) echo "${BUCKETMESH_AZURE_TABLE_PORT:-$((BASE + 9))}" ;;
    sqs) echo "${BUCKETMESH_SQS_PORT:-$((BASE + 10))}" ;;
    pubsub) echo "${BUCKETMESH_PUBSUB_PORT:-$((BASE + 11))}" ;;
    *) die "no such server: $1 (want: ${ALL[*]})" ;;
  esac
}

# --- health ------------------------------------------------------------------------------------------------------------

healthy() {
  case $1 in
    minio-*) http_ok "$(port "$1")" /minio/health/cluster 200 "$HOST" ;;
    versitygw) http_ok "$(port versitygw)" /_health 200 "$HOST" ;; # an underscore: can't be a bucket
    postgres) as_postgres "$(postgres_bin)/pg_ctl" status -D "$(postgres_home)/data" >/dev/null 2>&1 && connects "$(port postgres)" "$HOST" ;;
    fake-gcs) http_ok "$(port fake-gcs)" /_internal/healthcheck 200 "$HOST" ;;
    # Azurite has no page for this: it is up when it refuses a request that says no account.
    azurite) http_ok "$(port azurite)" / 400 "$HOST" && http_ok "$(port azurite-queue)" / 400 "$HOST" ;;
    sqs) http_ok "$(port sqs)" /health ;;
    pubsub) grep -q '^ready' "$DIR/pubsub.log" && connects "$(port pubsub)" "$HOST" ;; # it listens before its topic is there
  esac
}

# --- processes ---------------------------------------------------------------------------------------------------------

# pid_of SERVER prints the process id if the process that we started is alive. A process id alone proves nothing (it may
# belong to somebody else by now), so the program that runs under it is looked at, too.
pid_of() {
  local file=$DIR/$1.pid pid args
  [[ -s $file ]] || return 1
  pid=$(<"$file")
  args=$(ps -ww -o args= -p "$pid" 2>/dev/null) || return 1
  [[ $args == "$BIN/"* || $args == "node $CACHE/node/"* ]] || return 1
  echo "$pid"
}

# running SERVER: the process that this script started is there.
running() {
  if [[ $1 == postgres ]]; then
    postgres_bin >/dev/null 2>&1 && [[ -d $(postgres_home)/data ]] &&
      as_postgres "$(postgres_bin)/pg_ctl" status -D "$(postgres_home)/data" >/dev/null 2>&1
  else
    pid_of "$1" >/dev/null
  fi
}

# wait_healthy SERVER LOG: polls until the server answers, is gone, or the time is over.
wait_healthy() {
  local server=$1 log=$2 deadline=$((SECONDS + START_TIMEOUT))
  while ! healthy "$server"; do
    if ! running "$server"; then
      tail_log "$log"
      die "$server ended right after its start"
    fi
    if ((SECONDS >= deadline)); then
      tail_log "$log"
      die "$server is not healthy after $START_TIMEOUT s (BUCKETMESH_START_TIMEOUT)"
    fi
    sleep 0.1
  done
}

# launch SERVER COMMAND... starts a server in the background. It lives on when the script ends.
launch() {
  local server=$1 tries
  shift
  nohup "$@" >"$DIR/$server.log" 2>&1 </dev/null &
  echo $! >"$DIR/$server.pid"
  # On a busy machine it takes a while until the child has become the program. Until then it would look like somebody else.
  for ((tries = 0; tries < 100; tries++)); do
    if pid_of "$server" >/dev/null || ! kill -0 $! 2>/dev/null; then return 0; fi
    sleep 0.05
  done
}

# settings SERVER: all that a running server was started with; if it differs, the server is started anew.
settings() {
  echo "$(port "$1") $(port azurite-queue) $(port azurite-table) $(port pubsub) $NORMALIZER_PORT $ACCESS_KEY $SECRET_KEY $TOKEN $HOST $NORMALIZER_URL" | cksum
}

up() {
  local server=$1
  if running "$server"; then
    if [[ -f $DIR/$server.settings && $(<"$DIR/$server.settings") == "$(settings "$server")" ]]; then
      wait_healthy "$server" "$DIR/$server.log"
      return 0
    fi
    down "$server"
  fi
  if connects "$(port "$server")" "$HOST"; then
    die "port $(port "$server") of $server is taken by another process: set BUCKETMESH_PORT_BASE"
  fi
  install_server "$server"
  case $server in
    minio-*) up_minio "$server" ;;
    versitygw) up_versitygw ;;
    postgres) up_postgres ;;
    fake-gcs) up_fake_gcs ;;
    azurite) up_azurite ;;
    sqs) up_sqs ;;
    pubsub) up_pubsub ;;
  esac
  settings "$server" >"$DIR/$server.settings"
  wait_healthy "$server" "$DIR/$server.log"
  say "$server is up at $HOST:$(port "$server")"
}

down() {
  local server=$1 pid deadline=$((SECONDS + 20))
  if [[ $server == postgres ]]; then
    if running postgres; then
      as_postgres "$(postgres_bin)/pg_ctl" stop -D "$(postgres_home)/data" -m fast -t 20 >/dev/null
    fi
  elif pid=$(pid_of "$server"); then
    kill "$pid" 2>/dev/null || true
    while pid_of "$server" >/dev/null; do
      if ((SECONDS >= deadline)); then
        say "$server did not end within 20 s: killed"
        kill -9 "$pid" 2>/dev/null || true
        break
      fi
      sleep 0.1
    done
  fi
  rm -f "$DIR/$server.pid" "$DIR/$server.settings"
}

# install_server SERVER installs what it needs from elsewhere, once.
install_server() {
  case $1 in
    minio-*) install_tool minio "$MINIO_PIN" ;;
    versitygw) install_tool versitygw "$VERSITYGW_PIN" ;;
    postgres) install_postgres ;;
    fake-gcs) install_tool fake-gcs-server "$FAKE_GCS_PIN" ;;
    azurite | sqs) install_node ;;
  esac
}

# --- the servers -------------------------------------------------------------------------------------------------------

# Each MinIO has two webhook targets with the same URL. T1 sends at once and forgets what can't be delivered. T2 keeps
# events in a folder until they are taken (tried again every 3 s), but looks into that folder only every 3 s. A bucket
# that is bound to both is told of changes quickly and at least once; the duplicates have the same event id.
up_minio() {
  local server=$1 url=$NORMALIZER_URL/s3/$1
  mkdir -p "$DIR/$server/data" "$DIR/$server/queue"
  MINIO_ROOT_USER=$ACCESS_KEY MINIO_ROOT_PASSWORD=$SECRET_KEY MINIO_BROWSER=off MINIO_UPDATE=off \
    MINIO_NOTIFY_WEBHOOK_ENABLE_T1=on MINIO_NOTIFY_WEBHOOK_ENDPOINT_T1=$url \
    MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_T1=$TOKEN \
    MINIO_NOTIFY_WEBHOOK_ENABLE_T2=on MINIO_NOTIFY_WEBHOOK_ENDPOINT_T2=$url \
    MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_T2=$TOKEN MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_T2=$DIR/$server/queue \
    launch "$server" "$BIN/minio" server --quiet --address "$HOST:$(port "$server")" "$DIR/$server/data"
}

# versitygw sends a test event when it starts and gives up if nobody listens. It asks no more of the receiver than to
# listen, and later it drops events that can't be delivered. If the normalizer is not up yet, a helper takes that one event.
# versitygw knows no token: the credentials in the URL become a Basic authorization header.
up_versitygw() {
  local helper='' url=http://bucketmesh:$TOKEN@127.0.0.1:$NORMALIZER_PORT/s3/versitygw
  mkdir -p "$DIR/versitygw/objects" "$DIR/versitygw/versions"
  if ! connects "$NORMALIZER_PORT"; then
    (cd "$ROOT" && go build -buildvcs=false -o "$BIN/testevent" ./hack/testevent)
    "$BIN/testevent" -listen "127.0.0.1:$NORMALIZER_PORT" -for "${START_TIMEOUT}s" 2>"$DIR/testevent.log" &
    helper=$!
    until connects "$NORMALIZER_PORT"; do
      kill -0 "$helper" 2>/dev/null || die "cannot take versitygw's test event: $(<"$DIR/testevent.log")"
      sleep 0.05
    done
  fi
  ROOT_ACCESS_KEY=$ACCESS_KEY ROOT_SECRET_KEY=$SECRET_KEY \
    launch versitygw "$BIN/versitygw" --port "$HOST:$(port versitygw)" --quiet --health /_health \
    --event-webhook-url "$url" posix --versioning-dir "$DIR/versitygw/versions" "$DIR/versitygw/objects"
  if [[ -n $helper ]]; then
    wait_healthy versitygw "$DIR/versitygw.log"
    kill "$helper" 2>/dev/null || true # it ends by itself after the event
    wait "$helper" 2>/dev/null || true
  fi
}

# fake-gcs-server's event options are for all buckets (-event.bucket would be for one). It creates no topic: where the
# topic is missing, events are dropped, and that is not even logged. Buckets need no notification of their own, and
# must have none: each change would be told twice.
up_fake_gcs() {
  local address
  address=$HOST:$(port fake-gcs)
  PUBSUB_EMULATOR_HOST=$HOST:$(port pubsub) launch fake-gcs "$BIN/fake-gcs-server" -backend memory -scheme http \
    -host "$HOST" -port "$(port fake-gcs)" -public-host "$address" -external-url "http://$address" -log-level warn \
    -event.list finalize,delete,metadataUpdate,archive \
    -event.pubsub-project-id "$(cut -d/ -f2 <<<"$TOPIC")" -event.pubsub-topic "${TOPIC##*/}"
}

up_pubsub() {
  (cd "$ROOT" && go build -buildvcs=false -o "$BIN/pubsub" ./hack/pubsub) || die "cannot build hack/pubsub"
  launch pubsub "$BIN/pubsub" -listen "$HOST:$(port pubsub)" -topic "$TOPIC" "$SUBSCRIPTION"
}

up_azurite() {
  mkdir -p "$DIR/azurite"
  AZURITE_ACCOUNTS=$AZURE_ACCOUNT:$AZURE_KEY launch azurite node "$NODE/node_modules/azurite/dist/src/azurite.js" \
    --location "$DIR/azurite" --silent --skipApiVersionCheck --disableTelemetry \
    --blobKeepAliveTimeout 120 --blobHost "$HOST" --blobPort "$(port azurite)" --queueHost "$HOST" --queuePort "$(port azurite-queue)" \
    --tableHost "$HOST" --tablePort "$(port azurite-table)"
}

up_sqs() {
  launch sqs node "$NODE/sqs.mjs" "$(port sqs)"
}

# --- commands ----------------------------------------------------------------------------------------------------------

# select_servers NAME... sets SERVERS.
select_servers() {
  local name
  SERVERS=()
  for name in "$@"; do
    case $name in
      minio) SERVERS+=(minio-a minio-b) ;;
      *)
        [[ " ${ALL[*]} " == *" $name "* ]] || die "no such server: $name (want: minio ${ALL[*]})"
        SERVERS+=("$name")
        ;;
    esac
  done
  [[ ${#SERVERS[@]} -gt 0 ]] || SERVERS=("${ALL[@]}")
}

print_env() {
  cat <<ENV
export BUCKETMESH_TEST_MINIO_A=http://$HOST:$(port minio-a)
export BUCKETMESH_TEST_MINIO_B=http://$HOST:$(port minio-b)
export BUCKETMESH_TEST_VERSITYGW=http://$HOST:$(port versitygw)
export BUCKETMESH_TEST_MINIO_BIN=$BIN/minio
export BUCKETMESH_TEST_VERSITYGW_BIN=$BIN/versitygw
export BUCKETMESH_TEST_S3_ACCESS_KEY=$ACCESS_KEY
export BUCKETMESH_TEST_S3_SECRET_KEY=$SECRET_KEY
export BUCKETMESH_TEST_POSTGRES='postgres://bucketmesh@$HOST:$(port postgres)/postgres?sslmode=disable&application_name=$ACCESS_KEY'
export BUCKETMESH_TEST_GCS=http://$HOST:$(port fake-gcs)
export BUCKETMESH_TEST_PUBSUB=$HOST:$(port pubsub)
export BUCKETMESH_TEST_PUBSUB_TOPIC=$TOPIC
export BUCKETMESH_TEST_PUBSUB_SUBSCRIPTION=$SUBSCRIPTION
export BUCKETMESH_TEST_AZURE_BLOB=http://$HOST:$(port azurite)
export BUCKETMESH_TEST_AZURE_QUEUE=http://$HOST:$(port azurite-queue)
export BUCKETMESH_TEST_AZURE_ACCOUNT=$AZURE_ACCOUNT
export BUCKETMESH_TEST_AZURE_KEY=$AZURE_KEY
export BUCKETMESH_AZURITE='$NODE/node_modules/.bin/azurite'
export BUCKETMESH_TEST_SQS=http://127.0.0.1:$(port sqs)
export BUCKETMESH_E2E_NORMALIZER_ADDR=127.0.0.1:$NORMALIZER_PORT
export BUCKETMESH_E2E_NOTIFY_TOKEN=$TOKEN
export BUCKETMESH_E2E_MINIO_ARN_FAST=arn:minio:sqs::T1:webhook
export BUCKETMESH_E2E_MINIO_ARN_DURABLE=arn:minio:sqs::T2:webhook
export BUCKETMESH_E2E_SERVERS_DIR='$DIR'
ENV
}

command=${1:-}
[[ $# -eq 0 ]] || shift
case $command in
  up)
    select_servers "$@"
    for server in "${SERVERS[@]}"; do up "$server"; done
    ;;
  install)
    select_servers "$@"
    for server in "${SERVERS[@]}"; do install_server "$server"; done
    ;;
  down)
    select_servers "$@"
    for server in "${SERVERS[@]}"; do down "$server"; done
    ;;
  restart)
    select_servers "$@"
    for server in "${SERVERS[@]}"; do down "$server"; done
    for server in "${SERVERS[@]}"; do up "$server"; done
    ;;
  wipe)
    for server in "${ALL[@]}"; do down "$server"; done
    rm -rf "$(postgres_home)" "${DIR:?}"
    ;;
  status)
    rc=0
    for server in "${ALL[@]}"; do
      if ! running "$server"; then
        state=down rc=1
      elif healthy "$server"; then
        state=healthy
      else
        state='not healthy' rc=1
      fi
      printf '%-10s %s:%-6s %s\n' "$server" "$HOST" "$(port "$server")" "$state"
    done
    exit "$rc"
    ;;
  azurite)
    install_node
    echo "$NODE/node_modules/.bin/azurite"
    ;;
  env) print_env ;;
  *)
    sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
