#!/usr/bin/env bash
# What the scenarios of test/knative do to the cluster. Run within it: hack/cluster.sh exec hack/cluster/control.sh VERB NAME
#
#   kill SERVICE       kill -9 of the service in one of its pods, once there is one, and of the pod
#   restart SERVICE    a rolling update: a new revision, ready, and all requests go to it
#   restart postgres, restart dispatcher
#   stop broker, start broker      the way into the broker
#   deploy config      ko apply -f config/, and wait until all of it is ready
#   ready config       only wait
#   pods               how many pods of ours there are; those that are ending (Knative drains for half a minute) do not count
#   services           their names
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# kubectl would ask whatever cluster the user works with.
[[ -n ${BUCKETMESH_CLUSTER_INSIDE:-} || $# -eq 0 ]] || die "this is for the cluster of hack/cluster.sh: hack/cluster.sh exec hack/cluster/control.sh $*"

LIMIT=180 # seconds for anything

ours() { kubectl -n bucketmesh "$@"; }
eventing() { kubectl -n knative-eventing "$@"; }

# eventually WHAT COMMAND...
eventually() {
  local what=$1 deadline=$((SECONDS + LIMIT))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || die "$what: not within $LIMIT s"
    sleep 0.2
  done
}

# kill_service NAME: this runs among the node's own processes, so that those of pods are seen. The service's program has its name;
# the other programs of the pod are the queue proxy and pause. The pod goes with it: the kubelet would wait longer and longer
# until it starts the program of a pod again that is killed over and over.
kill_service() {
  local pod uid group pid
  while read -r pod uid; do
    while read -r group; do
      pid=${group//[!0-9]/}
      if [[ $(readlink "/proc/$pid/exe") == */"$1" ]] && kill -9 "$pid"; then
        ours delete pod "$pod" --grace-period=0 --force --wait=false 2>/dev/null
        return 0
      fi
    done < <(grep -ls "$uid" /proc/[0-9]*/cgroup)
  done < <(ours get pods -l "serving.knative.dev/service=$1" \
    -o 'go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}} {{.metadata.uid}}{{"\n"}}{{end}}{{end}}')
  return 1
}

# rolled SERVICE: all requests go to its newest revision.
rolled() {
  local wanted seen created ready status
  read -r wanted seen created ready status < <(ours get ksvc "$1" -o \
    'jsonpath={.metadata.generation} {.status.observedGeneration} {.status.latestCreatedRevisionName} {.status.latestReadyRevisionName} {.status.conditions[?(@.type=="Ready")].status}{"\n"}')
  [[ $wanted == "$seen" && $created == "$ready" && $status == True ]]
}

# entrance N: how many pods take events.
entrance() {
  eventing scale deployment mt-broker-ingress --replicas "$1" >/dev/null
  if [[ $1 == 0 ]]; then
    eventing wait pods -l eventing.knative.dev/brokerRole=ingress --for=delete --timeout="${LIMIT}s" >/dev/null
  else
    eventing rollout status deployment mt-broker-ingress --timeout="${LIMIT}s" >/dev/null
    eventually "the broker is ready" broker_ready
  fi
}

# ready: Knative says so of all that config/ declares, and there is something.
ready() {
  local kinds=ksvc,brokers.eventing.knative.dev,triggers.eventing.knative.dev,sinkbindings.sources.knative.dev,pingsources.sources.knative.dev
  UNREADY=$(ours get "$kinds" -o 'jsonpath={range .items[*]}{.kind} {.metadata.name}: {.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].message}{"\n"}{end}')
  [[ -n $UNREADY ]] && ! grep -v ': True' <<<"$UNREADY" >/dev/null
}

# all_ready says what is not, when the time is over.
all_ready() {
  (eventually "all of config/ is ready" ready) || {
    ready || grep -v ': True' <<<"$UNREADY" >&2
    exit 1
  }
}

broker_ready() { [[ $(ours get broker bucketmesh -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == True ]]; }

case "$*" in
  'deploy config')
    (cd "$ROOT" && ko apply -f config/)
    all_ready
    # The scenarios post what this timer posts, when it is time for it; every ten minutes it would wake what has to be asleep.
    ours patch pingsource due --type merge -p '{"spec": {"schedule": "0 0 1 1 *"}}'
    ;;
  'ready config') all_ready ;;
  pods)
    ours get pods -l serving.knative.dev/service \
      -o 'go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}}{{"\n"}}{{end}}{{end}}' | wc -l
    ;;
  services) ours get ksvc -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}' ;;
  'stop broker') entrance 0 ;;
  'start broker') entrance 1 ;;
  'restart dispatcher')
    eventing rollout restart deployment imc-dispatcher
    eventing rollout status deployment imc-dispatcher --timeout="${LIMIT}s"
    ;;
  'restart postgres') "$ROOT/hack/servers.sh" restart postgres ;;
  'restart '*)
    ours patch ksvc "$2" --type merge -p "{\"spec\": {\"template\": {\"metadata\": {\"annotations\": {\"bucketmesh.dev/restarted\": \"$(date -Ins)\"}}}}}"
    eventually "the new revision of $2" rolled "$2"
    ;;
  'kill '*) eventually "a pod of $2 to kill" kill_service "$2" ;;
  *)
    sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
