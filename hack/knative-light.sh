#!/usr/bin/env bash
# Knative Eventing's real data plane without a cluster: etcd, kube-apiserver, Knative's own reconcilers, broker and in-memory
# channel, and the services of this tree, as plain processes, with two MinIO, PostgreSQL and the Broker and Triggers of config/.
# All of it is in namespaces of its own (network, processes): it takes no port of the machine, and "down" leaves nothing behind.
#
#   hack/knative-light.sh run [ARGS]       up, the scenarios of test/knative, down (this is hack/e2e.sh knative-light)
#   hack/knative-light.sh run --help       what ARGS may be
#   hack/knative-light.sh up               build what is missing, start, wait until Broker, Triggers and services are ready
#   hack/knative-light.sh down             stop, and forget the state
#   hack/knative-light.sh exec COMMAND...  run COMMAND there, with kubectl and bucketmesh on PATH, and KUBECONFIG set
#   hack/knative-light.sh kill NAME        kill -9 a process, and start it again; NAME is a service, or one of broker, filter,
#   hack/knative-light.sh stop NAME        dispatcher, control, or postgres
#   hack/knative-light.sh start NAME
#   hack/knative-light.sh build            only build the programs
#
# Needs Linux, and root or unprivileged user namespaces. What a cluster has beyond this (Knative Services, webhooks, SinkBindings,
# PingSources, network policies) is for hack/cluster.sh: here, references to Services are written out as addresses, which an HTTP
# proxy takes to processes (hack/svcproxy), and K_SINK is set by hand.
#
# Environment:
#   BUCKETMESH_CACHE           programs are in its bin/ and knative-light/bin   (default: .cache in the checkout)
#   BUCKETMESH_LIGHT_DIR       state and logs                                   (default: knative-light/run in the cache)
#   BUCKETMESH_LIGHT_TIMEOUT   seconds that one part may take to be ready       (default: 120)
#   BUCKETMESH_LIGHT_KEEP=1    keeps logs and state after a success, too
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SELF=$ROOT/hack/knative-light.sh
PROGRAMS=$CACHE/knative-light/bin
RUN=${BUCKETMESH_LIGHT_DIR:-$CACHE/knative-light/run}
TIMEOUT=${BUCKETMESH_LIGHT_TIMEOUT:-120}
mkdir -p "$PROGRAMS" "$RUN"
RUN=$(cd "$RUN" && pwd -P)
LOGS=$RUN/logs
export PATH=$PROGRAMS:$PATH:/usr/sbin:/sbin
DIR=$RUN/servers # of hack/servers.sh
. "$ROOT/hack/postgres.sh"
. "$ROOT/hack/knative-light/build.sh"
. "$ROOT/hack/knative-light/namespaces.sh"
. "$ROOT/hack/knative-light/processes.sh"
. "$ROOT/hack/knative-light/start.sh"

# stop_all HOW ends everything. Logs are kept if HOW is "failed".
stop_all() {
  leave_namespaces
  if [[ $1 == failed || -n ${BUCKETMESH_LIGHT_KEEP:-} ]]; then
    say "state and logs are kept in $RUN until the next start"
  else
    forget
  fi
}

# forget removes the state. PostgreSQL's may be elsewhere. A folder that somebody named may hold something of theirs.
forget() {
  if [[ -n ${BUCKETMESH_LIGHT_DIR:-} && ! -e $RUN/of-knative-light && -n $(ls -A "$RUN" 2>/dev/null) ]]; then
    die "BUCKETMESH_LIGHT_DIR: $RUN holds what is not of this script; name a folder that is empty, or not there"
  fi
  rm -rf "$(postgres_home)" "$RUN"
}

start_all() {
  if running_namespaces >/dev/null; then
    say "it is up already"
    return 0
  fi
  build_all
  forget
  mkdir -p "$LOGS"
  touch "$RUN/of-knative-light"
  enter_namespaces "$SELF" inside
}

# scenarios [ARGS...] is what "run" does while everything is up. It takes less time than what a cluster is asked for.
scenarios() {
  inside knative filters --broker-of "$(<"$RUN/ingress")" --proxy "$PROXY" || return 1
  inside knative run --dir "$RUN/group" --bucketmesh "$PROGRAMS/bucketmesh" --normalizer "http://127.0.0.1:$(port_of normalizer-s3)" \
    --broker "$(<"$RUN/sink")" --proxy "$PROXY" --state "$(inside printenv BUCKETMESH_TEST_POSTGRES)" --control "$SELF" \
    --victims normalizer-s3,sync,conflict-resolver,audit,dispatcher --first-within 5s --over 4s --kills 5 --kill-over 5s --converge-within 90s "$@"
}

command=${1:-}
[[ $# -eq 0 ]] || shift
case $command in
  run)
    if [[ " $* " == *' --help '* ]]; then
      cd "$ROOT" && exec go run ./test/knative/cmd/knative run --help
    fi
    ended=failed
    trap 'stop_all "$ended"' EXIT
    trap 'exit 130' INT TERM
    start_all
    scenarios "$@"
    ended=ok
    ;;
  up)
    trap 'stop_all failed' EXIT
    trap 'exit 130' INT TERM
    start_all
    trap - EXIT
    ;;
  down) stop_all ok ;;
  build) build_all ;;
  exec) inside "$@" ;;
  kill | stop | start)
    if [[ -z ${BUCKETMESH_LIGHT_INSIDE:-} ]]; then
      inside "$SELF" "$command" "$@"
      exit
    fi
    [[ $# -eq 1 ]] || die "$command: who?"
    "${command}_process" "$1"
    ;;
  inside) # the first process of the namespaces
    trap 'exit 0' TERM INT # whatever runs here ends with it
    start_inside
    while :; do
      sleep 3600 &
      wait $! || true
    done
    ;;
  *)
    sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
