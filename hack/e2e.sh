#!/usr/bin/env bash
# End-to-end proof on real servers: starts them, builds bucketmesh, and has test/e2e write, kill, wait and check.
#
#   hack/e2e.sh s3 [--ops 3000] [--seed N] [--kill 30] [--state sqlite|postgres] [--no-events] [--output json]
#   hack/e2e.sh clouds [--ops 4000] [--seed N] [--kill 20] [--state sqlite|postgres] [--output json]
#   hack/e2e.sh s3 --help        all flags
#   hack/e2e.sh knative-light [ARGS]    the services behind Knative's own broker, as processes: hack/knative-light.sh run
#   hack/e2e.sh knative [SCENARIO...]   the services on a real cluster: hack/cluster/suite.sh, docs/cluster.md
#
# s3 is two MinIO and a versitygw; clouds is a MinIO, a versitygw, Cloud Storage (fake-gcs-server) and Azure (Azurite), the
# latter two behind the gates of pkg/demo/emulator.
#
# Servers, data and logs are in a folder of the run's own. After a success it is removed; after a failure it is kept, and
# its name is printed. BUCKETMESH_E2E_KEEP=1 keeps it always.
#
# Environment:
#   BUCKETMESH_E2E_PORT_BASE   first of twenty ports (default: 19040; two runs at once need two)
#   BUCKETMESH_CACHE           see hack/servers.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

if [[ $# -eq 0 ]]; then
  sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
if [[ $1 == knative-light ]]; then
  exec hack/knative-light.sh run "${@:2}"
fi
if [[ $1 == knative ]]; then
  exec hack/cluster/suite.sh "${@:2}"
fi
export BUCKETMESH_PORT_BASE=${BUCKETMESH_E2E_PORT_BASE:-19040}
RUN=$CACHE/e2e-$BUCKETMESH_PORT_BASE
export BUCKETMESH_SERVERS_DIR=$RUN/servers
export BUCKETMESH_E2E_UP_ADDR=127.0.0.1:$((BUCKETMESH_PORT_BASE + 5))

postgres=false
previous=''
servers=(minio versitygw)
for arg in "$@"; do
  case $arg in
    clouds) servers=(minio-a versitygw pubsub fake-gcs azurite) ;;
    --state=postgres) postgres=true ;;
    postgres) [[ $previous != --state ]] || postgres=true ;;
    -h | --help) exec go run ./test/e2e/cmd/e2e "$@" ;;
  esac
  previous=$arg
done

ok=false
finish() {
  if $ok && [[ -z ${BUCKETMESH_E2E_KEEP:-} ]]; then
    hack/servers.sh wipe || true
    rm -rf "$RUN"
  else
    hack/servers.sh down || true
    say "data and logs are kept in $RUN until the next run with the same ports"
  fi
}
trap finish EXIT
trap 'exit 130' INT TERM

hack/servers.sh wipe # what an earlier run left
rm -rf "$RUN"
mkdir -p "$RUN/bin"
go build -buildvcs=false -o "$RUN/bin/" ./services/bucketmesh ./test/e2e/cmd/e2e
if $postgres; then servers+=(postgres); fi
hack/servers.sh up "${servers[@]}"
vars=$(hack/servers.sh env)
eval "$vars"

"$RUN/bin/e2e" "$@" --dir "$RUN" --bucketmesh "$RUN/bin/bucketmesh"
ok=true
