#!/usr/bin/env bash
# A Kubernetes of one node with Knative Serving and Eventing, built from Go modules, without Docker: docs/cluster.md. All of it
# is in namespaces of its own (network, mounts, processes): nothing of it shows on the machine, and "down" leaves nothing behind.
#
#   hack/cluster.sh up                      build what is missing, start, wait until Knative is ready; does nothing twice
#   hack/cluster.sh down [--wipe]           stop; --wipe also forgets the cluster's state and images (programs are kept)
#   hack/cluster.sh status [--output json]  one line per part; exit code 1 if one of them is not ready
#   hack/cluster.sh exec COMMAND...         run COMMAND there, with kubectl, ko and crane on PATH, KUBECONFIG, KO_DOCKER_REPO and
#                                           KO_DEFAULTBASEIMAGE set, and the names of the cluster resolved:
#                                           hack/cluster.sh exec ko apply -f config/
#                                           hack/cluster.sh exec curl http://normalizer-s3.bucketmesh.example.com/healthz
#   hack/cluster.sh build                   only build the programs (from empty caches half an hour of one core)
#
# Needs Linux, root, 3 GB of memory and 20 GB of disk, most of which is Go's build cache. Packages of the system that are missing
# are installed with apt-get.
#
# Environment:
#   BUCKETMESH_CACHE              programs are in its cluster/bin               (default: .cache in the checkout)
#   BUCKETMESH_CLUSTER_DIR        state, keys, images and logs                  (default: cluster/ in the cache)
#   BUCKETMESH_CLUSTER_TIMEOUT    seconds that one part may take to be ready    (default: 300)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/hack/cluster/env.sh"
. "$ROOT/hack/cluster/build.sh"
. "$ROOT/hack/cluster/keys.sh"
. "$ROOT/hack/cluster/namespaces.sh"
. "$ROOT/hack/cluster/node.sh"
. "$ROOT/hack/cluster/images.sh"
. "$ROOT/hack/cluster/knative.sh"
. "$ROOT/hack/cluster/status.sh"

command=${1:-}
[[ $# -eq 0 ]] || shift
case $command in
  up)
    need_root
    install_system
    build_programs
    make_keys
    enter_new_namespaces
    inside "$ROOT/hack/cluster.sh" up-inside
    ;;
  up-inside) # within the namespaces
    start_node
    publish_base
    start_knative
    say "the cluster is up: hack/cluster.sh exec kubectl get pods -A"
    ;;
  down)
    need_root
    if running_cluster >/dev/null; then
      inside "$ROOT/hack/cluster.sh" down-inside || say "the node did not stop in order: killed"
    fi
    end_namespaces
    [[ ${1:-} != --wipe ]] || wipe
    ;;
  down-inside) stop_node ;;
  status) status "$@" ;;
  exec)
    need_root
    [[ $# -gt 0 ]] || die "exec: which command?"
    inside "$@"
    ;;
  build)
    install_system
    build_programs
    ;;
  *)
    sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
