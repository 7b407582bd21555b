# shellcheck shell=bash
# Part of hack/knative-light.sh: what runs, and how one of it is started and ended. Within the namespaces. Sourced, not run.

PROXY=http://127.0.0.1:3128
KUBECONFIG=$RUN/keys/kubeconfig
export KUBECONFIG

# port_of NAME: what answers its health checks. The ports are nobody else's.
port_of() {
  case $1 in
    etcd) echo 2379 ;;
    apiserver) echo 6443 ;;
    svcproxy) echo 3128 ;;
    dispatcher) echo 8080 ;; # Knative has it fixed
    broker) echo 8181 ;;
    filter) echo 8182 ;;
    normalizer-s3) echo 19000 ;; # as hack/servers.sh has it
    sync) echo 19021 ;;
    conflict-resolver) echo 19022 ;;
    audit) echo 19023 ;;
    dead-letters) echo 19024 ;;
    *) die "no such process: $1" ;;
  esac
}

# healthy NAME: it does its work.
healthy() {
  case $1 in
    etcd) http_ok 2379 /health ;;
    apiserver) kubectl get --raw /readyz >/dev/null 2>&1 ;;
    svcproxy) connects 3128 ;;
    dispatcher | broker | filter) http_ok "$(port_of "$1")" /healthz || connects "$(port_of "$1")" ;;
    control) true ;; # what it does is seen in the Broker
    *) http_ok "$(port_of "$1")" /readyz ;;
  esac
}

# command_of NAME sets COMMAND and SETTINGS.
command_of() {
  SETTINGS=(HTTP_PROXY="$PROXY")
  case $1 in
    etcd) COMMAND=(etcd --data-dir "$RUN/etcd" --log-level warn --unsafe-no-fsync) ;;
    apiserver)
      COMMAND=(kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address=127.0.0.1 --endpoint-reconciler-type=none
        --advertise-address=192.0.2.1 --cert-dir="$RUN/keys" --token-auth-file="$RUN/keys/tokens" --authorization-mode=RBAC --profiling=false
        --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$RUN/keys/serviceaccount.key"
        --service-account-signing-key-file="$RUN/keys/serviceaccount.key" --service-cluster-ip-range=10.96.0.0/16
        --disable-admission-plugins=ServiceAccount)
      SETTINGS=()
      ;;
    svcproxy)
      COMMAND=(svcproxy -listen "127.0.0.1:$(port_of svcproxy)" "broker-ingress.knative-eventing.svc.cluster.local=127.0.0.1:$(port_of broker)"
        "broker-filter.knative-eventing.svc.cluster.local=127.0.0.1:$(port_of filter)" "*-kn-channel.*=127.0.0.1:$(port_of dispatcher)")
      local service
      for service in "${SERVICES[@]}"; do COMMAND+=("$service.bucketmesh.svc.cluster.local=127.0.0.1:$(port_of "$service")"); done
      SETTINGS=()
      ;;
    control) of_knative lite ROLE=control PROFILING_PORT=9311 ;;
    dispatcher) of_knative lite ROLE=dispatch PROFILING_PORT=9312 MAX_IDLE_CONNS=1000 MAX_IDLE_CONNS_PER_HOST=100 ;;
    broker) of_knative ingress INGRESS_PORT="$(port_of broker)" INGRESS_PORT_HTTPS=8191 PROFILING_PORT=9313 ;;
    filter) of_knative filter FILTER_PORT="$(port_of filter)" FILTER_PORT_HTTPS=8192 PROFILING_PORT=9314 ;;
    *)
      COMMAND=("$1")
      SETTINGS+=(PORT="$(port_of "$1")" K_SINK="$(<"$RUN/sink")")
      ;;
  esac
}

# of_knative PROGRAM SETTING...: what all of Knative's programs want to know.
of_knative() {
  COMMAND=("$PROGRAMS/$1")
  shift
  SETTINGS+=(SYSTEM_NAMESPACE=knative-eventing NAMESPACE=knative-eventing POD_NAME=light CONTAINER_NAME=light CONFIG_LOGGING_NAME=config-logging
    CONFIG_OBSERVABILITY_NAME=config-observability METRICS_DOMAIN=knative.dev/light DISPATCHER_IMAGE=none KUBE_API_QPS=500 KUBE_API_BURST=1000 "$@")
  # A namespaced one would be told of its own namespace only.
  [[ ${COMMAND[0]} != */lite ]] || SETTINGS+=(NAMESPACE=)
}

# start_process NAME, unless it runs, and wait until it is healthy.
start_process() {
  launch "$1"
  await "$1"
}

launch() {
  if alive "$1"; then return 0; fi
  command_of "$1"
  mkdir -p "$RUN/pids"
  setsid env "${SETTINGS[@]}" "${COMMAND[@]}" >>"$LOGS/$1.log" 2>&1 </dev/null &
  echo $! >"$RUN/pids/$1"
}

await() {
  local deadline=$((SECONDS + TIMEOUT))
  until healthy "$1"; do
    if ! alive "$1"; then
      tail_log "$LOGS/$1.log"
      die "$1 ended right after its start; see $LOGS/$1.log"
    fi
    if ((SECONDS >= deadline)); then
      tail_log "$LOGS/$1.log"
      die "$1 is not ready after $TIMEOUT s (BUCKETMESH_LIGHT_TIMEOUT); see $LOGS/$1.log"
    fi
    sleep 0.05
  done
}

# alive NAME: it runs; a process that ended and that nobody asked about yet does not.
alive() {
  local pid state
  [[ -s $RUN/pids/$1 ]] || return 1
  pid=$(<"$RUN/pids/$1")
  state=$(ps -o stat= -p "$pid" 2>/dev/null) && [[ $state != Z* ]]
}

# end_process NAME SIGNAL
end_process() {
  local deadline=$((SECONDS + 40))
  [[ -s $RUN/pids/$1 ]] || die "no such process: $1"
  kill "-$2" "$(<"$RUN/pids/$1")" 2>/dev/null || true
  while alive "$1"; do
    ((SECONDS < deadline)) || die "$1 did not end within 40 s of SIG$2; see $LOGS/$1.log"
    sleep 0.02
  done
}

kill_process() {
  if [[ $1 == postgres ]]; then
    "$ROOT/hack/servers.sh" restart postgres
    return
  fi
  end_process "$1" KILL
  start_process "$1"
}

stop_process() { end_process "$1" TERM; }
