#!/usr/bin/env bash
# Proofs on real servers that nothing is lost: starts the servers, builds test/chaos and bucketmesh, and has them write, kill,
# wait and check. docs/testing.md says what each proves.
#
#   hack/chaos.sh lines [--times 50] [--line 5c,5e] [--seed N] [--output json]
#       kill -9 at every line of the algorithm, on two MinIO and PostgreSQL (--times 1 takes half a minute)
#   hack/chaos.sh hammer [--seconds 60] [--seed N] [--output json]
#       two users hammer one key at two MinIO
#   hack/chaos.sh registers [--rounds 50] [--seed N] [--output json]
#       histories of conditional requests at MinIO, versitygw, Azurite and Cloud Storage are checked for linearizability
#
# Exit codes: 0 proved; 1 something was lost, differs, is not linearizable, or a line was never reached; 2 wrong usage.
#
# Servers, data and logs are in a folder of the run's own. After a success it is removed; after a failure it is kept, and
# its name is printed. BUCKETMESH_CHAOS_KEEP=1 keeps it always.
#
# Environment:
#   BUCKETMESH_CHAOS_PORT_BASE   first of twenty ports (default: 19060; two runs at once need two)
#   BUCKETMESH_CACHE             see hack/servers.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

case ${1:-} in
  lines) servers=(minio postgres) ;;
  hammer) servers=(minio) ;;
  registers) servers=(minio-a versitygw pubsub fake-gcs azurite) ;;
  *)
    sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
export BUCKETMESH_PORT_BASE=${BUCKETMESH_CHAOS_PORT_BASE:-19060}
RUN=$CACHE/chaos-$BUCKETMESH_PORT_BASE
export BUCKETMESH_SERVERS_DIR=$RUN/servers

ok=false
finish() {
  if $ok && [[ -z ${BUCKETMESH_CHAOS_KEEP:-} ]]; then
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
go build -buildvcs=false -o "$RUN/bin/" ./services/bucketmesh ./test/chaos
hack/servers.sh up "${servers[@]}"
vars=$(hack/servers.sh env)
eval "$vars"

"$RUN/bin/chaos" "$@" --dir "$RUN" --bucketmesh "$RUN/bin/bucketmesh"
ok=true
