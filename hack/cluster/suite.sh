#!/usr/bin/env bash
# The whole suite on the cluster of hack/cluster.sh, as hack/e2e.sh knative starts it: the cluster and the servers come up, config/ is
# applied, and test/knative writes, kills, restarts, waits and checks; twice, with two MinIO servers, and with Cloud Storage and
# Azure (emulators). What was found is written to docs/cluster-results.md.
#
#   hack/e2e.sh knative [SCENARIO...]     all scenarios, or deploy and those that are named, which leaves the document alone
#
# Logs are kept in e2e-knative/ of the cache. The cluster is stopped at the end if it was started here.
#
# Environment:
#   BUCKETMESH_E2E_KEEP     1: the servers and the cluster stay up
#   BUCKETMESH_E2E_FLEETS   which to run with            (default: "minios clouds")
#   BUCKETMESH_CACHE, BUCKETMESH_CLUSTER_DIR             see hack/servers.sh and hack/cluster.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$ROOT"

RUN=$CACHE/e2e-knative
FLEETS=${BUCKETMESH_E2E_FLEETS:-minios clouds}
SERVERS=(minio postgres pubsub fake-gcs azurite)
HOST=10.244.0.1 # the node's address: pods reach it
export BUCKETMESH_SERVERS_DIR=$RUN/servers BUCKETMESH_SERVERS_HOST=$HOST BUCKETMESH_PORT_BASE=19040
export BUCKETMESH_NORMALIZER_URL=http://normalizer-s3.bucketmesh.example.com

# outside brings up what is needed, and has the rest done within the cluster.
outside() {
  local was_up=false rc=0
  ! hack/cluster.sh status >/dev/null || was_up=true
  mkdir -p "$RUN/bin"
  hack/servers.sh install "${SERVERS[@]}"
  go build -buildvcs=false -o "$RUN/bin/" ./services/bucketmesh ./test/knative/cmd/knative
  hack/cluster.sh up || {
    [[ -n ${BUCKETMESH_E2E_KEEP:-} ]] || $was_up || hack/cluster.sh down
    exit 1
  }
  hack/cluster.sh exec hack/cluster/suite.sh inside "$@" || rc=$?
  if [[ -z ${BUCKETMESH_E2E_KEEP:-} ]]; then
    hack/cluster.sh exec hack/cluster/suite.sh end || true
    $was_up || hack/cluster.sh down
  fi
  exit "$rc"
}

# inside runs the scenarios with each fleet, each time on a deployment and servers that are new.
inside() {
  local fleet rc=0 vars
  for fleet in $FLEETS; do
    end
    rm -rf "${RUN:?}/servers" "${RUN:?}/$fleet"
    hack/servers.sh up "${SERVERS[@]}"
    vars=$(hack/servers.sh env)
    eval "$vars"
    with "$fleet" "$@" || rc=1
  done
  return "$rc"
}

# with FLEET [SCENARIO...]
with() {
  local fleet=$1 dir=$RUN/$1 flags normalizers=normalizer-s3 results=docs/cluster-results.md
  shift
  [[ $fleet == minios ]] || normalizers=normalizer-gcs,normalizer-azure
  flags=(--dir "$dir" --bucketmesh "$RUN/bin/bucketmesh" --fleet "$fleet")
  # Where the gates of the emulators listen, and whom they tell.
  export BUCKETMESH_E2E_GCS_GATE=$HOST:19052 BUCKETMESH_E2E_AZURE_GATE=$HOST:19053
  export BUCKETMESH_E2E_GCS_WEBHOOK="http://normalizer-gcs.bucketmesh.example.com/gcs/gcs?token=$BUCKETMESH_E2E_NOTIFY_TOKEN"
  export BUCKETMESH_E2E_AZURE_WEBHOOK="http://normalizer-azure.bucketmesh.example.com/azure/azure?code=$BUCKETMESH_E2E_NOTIFY_TOKEN"
  "$RUN/bin/knative" setup "${flags[@]}" || return 1
  secrets "$dir" || return 1
  say "building the images"
  ko resolve -f config/ >/dev/null 2>"$dir/ko.log" || { # compiling is not what deploy measures
    tail_log "$dir/ko.log"
    return 1
  }
  if [[ $# -gt 0 ]]; then # the document is for whole runs
    set -- deploy "$@"
    results=$dir/results.md
  fi
  "$RUN/bin/knative" run "${flags[@]}" --cluster --control "$ROOT/hack/cluster/control.sh" --state "$BUCKETMESH_TEST_POSTGRES" \
    --normalizer "$BUCKETMESH_NORMALIZER_URL" --broker http://broker-ingress.knative-eventing.svc.cluster.local/bucketmesh/bucketmesh \
    --victims "$normalizers,sync,audit" --results "$results" "$@" | tee "$dir/report.txt"
}

# secrets: what config/ refers to.
secrets() {
  local dir=$1
  kubectl apply -f config/100-namespace.yaml >/dev/null &&
    kubectl -n bucketmesh create configmap bucketmesh-group --from-file=group.yaml="$dir/group.yaml" &&
    kubectl -n bucketmesh create secret generic bucketmesh-state --from-literal=dsn="$BUCKETMESH_TEST_POSTGRES" &&
    kubectl -n bucketmesh create secret generic bucketmesh-senders --from-literal=webhook-tokens="$BUCKETMESH_E2E_NOTIFY_TOKEN" &&
    kubectl -n bucketmesh create secret generic bucketmesh-credentials --from-literal=BUCKETMESH_E2E_ACCESS_KEY_ID="$BUCKETMESH_TEST_S3_ACCESS_KEY" \
      --from-literal=BUCKETMESH_E2E_SECRET_ACCESS_KEY="$BUCKETMESH_TEST_S3_SECRET_KEY" --from-literal=BUCKETMESH_E2E_ACCOUNT_KEY="$BUCKETMESH_TEST_AZURE_KEY"
}

# end: neither deployment nor servers.
end() {
  kubectl delete namespace bucketmesh --ignore-not-found --wait=false
  kubectl -n bucketmesh delete pods --all --force --grace-period=0 2>/dev/null # which may take ten minutes to drain
  kubectl wait namespace bucketmesh --for=delete --timeout=180s
  hack/servers.sh down
}

# "end" deletes the namespace: not that of whatever cluster the user works with.
case ${1:-} in
  inside | end) [[ -n ${BUCKETMESH_CLUSTER_INSIDE:-} ]] || die "this is for the cluster of hack/cluster.sh: hack/e2e.sh knative" ;;
esac

case ${1:-} in
  inside) inside "${@:2}" ;;
  end) end ;;
  *) outside "$@" ;;
esac
