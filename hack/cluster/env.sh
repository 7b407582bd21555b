# shellcheck shell=bash
# Part of hack/cluster.sh: names, addresses and folders, and how to wait. Sourced, not run.
# shellcheck disable=SC2034 # the other parts use them

# Everything is pinned: the modules in hack/cluster/tools/*/go.mod, and this, which Kubernetes' programs say of themselves.
KUBERNETES_VERSION=v1.34.4

PROGRAMS=$CACHE/cluster/bin
DIR=${BUCKETMESH_CLUSTER_DIR:-$CACHE/cluster}
TIMEOUT=${BUCKETMESH_CLUSTER_TIMEOUT:-300}
TOOLS=$ROOT/hack/cluster/tools
mkdir -p "$DIR" "$PROGRAMS"
DIR=$(cd "$DIR" && pwd -P)
LOGS=$DIR/logs
STATE=$DIR/state # what a cluster remembers from one "up" to the next
KEYS=$STATE/keys

# The addresses exist in the cluster's own network namespace only, so that they can't clash with the machine's.
NODE_NAME=node
NODE_IP=10.244.0.1
POD_CIDR=10.244.0.0/24
POD_FIRST=10.244.0.10
SERVICE_CIDR=10.96.0.0/16
API_IP=10.96.0.1
DNS_IP=10.96.0.10 # as in tools/coredns/coredns.yaml
REGISTRY=localhost:5000
BASE_IMAGE=$REGISTRY/base:latest
PAUSE_IMAGE=$REGISTRY/pause:latest
DOMAIN=example.com # of the services that are visible from outside, as in tools/coredns/coredns.yaml
CONTAINERD=/run/containerd/containerd.sock # /run is the cluster's own

need_root() {
  [[ $(uname -s) == Linux ]] || die "the cluster needs Linux (docs/cluster.md says how to use any other cluster)"
  [[ $(id -u) -eq 0 ]] || die "the cluster needs root, for namespaces and mounts: sudo -E hack/cluster.sh ..."
}

# eventually SECONDS LOG WHAT COMMAND...: polls until COMMAND succeeds, or dies with the end of LOG.
eventually() {
  local seconds=$1 log=$2 what=$3 deadline=$((SECONDS + $1))
  shift 3
  until timeout 30 "$@" >/dev/null 2>&1; do
    if ((SECONDS >= deadline)); then
      [[ ! -f $log ]] || tail_log "$log"
      die "$what: not within $seconds s (BUCKETMESH_CLUSTER_TIMEOUT); see $log"
    fi
    sleep 0.2
  done
}

# logged LOG WHAT COMMAND...: runs COMMAND with its output in LOG, which is shown if it fails.
logged() {
  local log=$LOGS/$1.log what=$2
  shift 2
  mkdir -p "$LOGS"
  if ! "$@" >"$log" 2>&1; then
    tail_log "$log"
    die "$what failed; see $log"
  fi
}
