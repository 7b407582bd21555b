# shellcheck shell=bash
# Part of hack/knative-light.sh: the start of everything, as the first process of the namespaces. Sourced, not run.

start_inside() {
  local began=$SECONDS
  ip link set lo up
  make_keys
  write_environment
  # shellcheck source=/dev/null
  . "$RUN/environment"
  launch etcd
  launch apiserver
  launch svcproxy
  "$ROOT/hack/servers.sh" up minio postgres >"$LOGS/servers.log" 2>&1 &
  local servers=$!
  await apiserver
  logged crds kubectl apply --server-side -f "$PROGRAMS/crds.yaml"
  logged crds-wait kubectl wait --for=condition=Established --all crd "--timeout=${TIMEOUT}s"
  logged settings kubectl apply --server-side -f "$PROGRAMS/settings.yaml"
  logged settings kubectl -n knative-eventing patch deployment imc-dispatcher --subresource=status --type=merge \
    -p '{"status": {"conditions": [{"type": "Available", "status": "True", "reason": "Process", "message": "it is a process"}]}}'
  launch control
  launch dispatcher
  launch broker
  launch filter
  "$PROGRAMS/knative" manifests --config "$ROOT/config" >"$RUN/manifests.yaml"
  logged manifests kubectl apply --server-side -f "$RUN/manifests.yaml"
  wait "$servers" || {
    tail_log "$LOGS/servers.log"
    die "the servers did not start; see $LOGS/servers.log"
  }
  logged setup "$PROGRAMS/knative" setup --dir "$RUN/group" --bucketmesh "$PROGRAMS/bucketmesh"
  await broker
  await filter
  await dispatcher
  logged ready kubectl -n bucketmesh wait --for=condition=Ready broker,trigger --all "--timeout=${TIMEOUT}s"
  kubectl -n bucketmesh get broker bucketmesh -o 'jsonpath={.status.address.url}' >"$RUN/sink"
  [[ $(<"$RUN/sink") == http://*/bucketmesh/bucketmesh ]] || die "the Broker has no address; see $LOGS/control.log"
  sed 's#/bucketmesh/bucketmesh$##' "$RUN/sink" >"$RUN/ingress"
  local service
  for service in "${SERVICES[@]}"; do launch "$service"; done
  for service in "${SERVICES[@]}"; do await "$service"; done
  say "Broker, Triggers and services are ready after $((SECONDS - began)) s"
  touch "$RUN/ready"
}

# make_keys: the API server makes its own certificate. There is one user, who may do everything.
make_keys() {
  local token
  mkdir -p "$RUN/keys"
  chmod 700 "$RUN/keys"
  openssl genrsa -out "$RUN/keys/serviceaccount.key" 2048 2>"$LOGS/keys.log" || die "cannot make a key; see $LOGS/keys.log"
  token=$(openssl rand -hex 16)
  echo "$token,admin,admin,system:masters" >"$RUN/keys/tokens"
  cat >"$KUBECONFIG" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: light, cluster: {server: "https://127.0.0.1:$(port_of apiserver)", certificate-authority: $RUN/keys/apiserver.crt}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: light, context: {cluster: light, user: admin}}]
current-context: light
YAML
}

# write_environment: what everything in here is told.
write_environment() {
  export BUCKETMESH_SERVERS_DIR=$DIR BUCKETMESH_PORT_BASE=19000 BUCKETMESH_START_TIMEOUT=$TIMEOUT
  {
    cat <<ENV
export PATH='$PROGRAMS':"\$PATH"
export KUBECONFIG='$KUBECONFIG'
export BUCKETMESH_SERVERS_DIR='$DIR' BUCKETMESH_PORT_BASE=19000 BUCKETMESH_START_TIMEOUT=$TIMEOUT
export NO_PROXY=127.0.0.1,localhost
ENV
    "$ROOT/hack/servers.sh" env
    cat <<'ENV'
export BUCKETMESH_CONFIG="$RUN/group/group.yaml" BUCKETMESH_STATE="$BUCKETMESH_TEST_POSTGRES" BUCKETMESH_WEBHOOK_TOKENS="$BUCKETMESH_E2E_NOTIFY_TOKEN"
export BUCKETMESH_E2E_ACCESS_KEY_ID="$BUCKETMESH_TEST_S3_ACCESS_KEY" BUCKETMESH_E2E_SECRET_ACCESS_KEY="$BUCKETMESH_TEST_S3_SECRET_KEY"
ENV
  } | sed "s#\\\$RUN#$RUN#" >"$RUN/environment"
}

# logged LOG COMMAND... runs COMMAND with its output in a log, which is shown if it fails.
logged() {
  local log=$LOGS/$1.log
  shift
  "$@" >>"$log" 2>&1 || {
    tail_log "$log"
    die "$1 failed; see $log"
  }
}
