# shellcheck shell=bash
# Part of hack/cluster.sh: Knative, from its own manifests in the module cache. Serving is v0.42.2, the newest one whose modules
# were seen to build and run together here. Eventing is v0.50.0, because pkg/broker filters with that version's code: what runs
# on a laptop and what runs here must agree. Sourced, not run.

MANIFESTS=$STATE/manifests

start_knative() {
  local namespace part
  make_manifests
  logged apply-crds "applying Knative's resource definitions" apply "$MANIFESTS/crds.yaml"
  logged wait-crds "waiting for Knative's resource definitions" kubectl wait --for=condition=Established --all crd --timeout=60s
  for part in coredns kingress serving eventing; do
    logged "apply-$part" "applying $part" applied "$MANIFESTS/$part.yaml"
  done
  for namespace in kube-system kingress knative-serving knative-eventing; do
    for part in $(kubectl -n "$namespace" get deployments -o name); do
      logged "rollout-${part##*/}" "$namespace: $part, which is not ready after $TIMEOUT s (hack/cluster.sh exec kubectl -n $namespace describe pods)," \
        kubectl -n "$namespace" rollout status "$part" --timeout="${TIMEOUT}s"
    done
  done
  configure
}

apply() { kubectl apply --server-side --force-conflicts --request-timeout=60s -f "$1"; }

# applied: a cluster that was up before has webhooks on record that are not up again yet.
applied() {
  local deadline=$((SECONDS + TIMEOUT))
  until apply "$1"; do
    ((SECONDS < deadline)) || return 1
    sleep 1
  done
}

# configure: webhooks check these, so they have to be up.
configure() {
  eventually 60 "$LOGS/apply-serving.log" "Knative's webhook takes config-network" kubectl -n knative-serving patch configmap config-network \
    --type merge -p '{"data": {"ingress-class": "kingress.bucketmesh.dev"}}'
  eventually 60 "$LOGS/apply-serving.log" "Knative's webhook takes config-domain" kubectl -n knative-serving patch configmap config-domain \
    --type merge -p "{\"data\": {\"$DOMAIN\": \"\"}}"
}

# make_manifests collects Knative's manifests and builds the images that they name, unless that was done.
make_manifests() {
  local stamp part jobs=() started=$SECONDS
  stamp=$(cat "$TOOLS"/*/go.mod "$TOOLS"/*/*.yaml "$TOOLS"/*/*.go "$ROOT"/hack/cluster/{images,knative}.sh | cksum)
  if [[ -f $MANIFESTS/done && $(<"$MANIFESTS/done") == "$stamp" ]]; then
    return 0
  fi
  say "building Knative's images; this is done once, and takes minutes"
  rm -rf "$MANIFESTS"
  mkdir -p "$MANIFESTS/source"
  logged collect "collecting Knative's manifests" collect
  for part in coredns kingress serving eventing; do
    resolve "$part" "$MANIFESTS/source/$part.yaml" >"$MANIFESTS/$part.yaml" 2>"$LOGS/ko-$part.log" &
    jobs[$!]=$part
  done
  for part in "${!jobs[@]}"; do
    wait "$part" || {
      tail_log "$LOGS/ko-${jobs[part]}.log"
      die "building the images of ${jobs[part]} failed; see $LOGS/ko-${jobs[part]}.log"
    }
  done
  echo "$stamp" >"$MANIFESTS/done"
  say "built Knative's images in $((SECONDS - started)) s"
}

collect() {
  local serving eventing networking caching out=$MANIFESTS/source
  serving=$(module serving knative.dev/serving) && eventing=$(module eventing knative.dev/eventing) || return 1
  # The zip of a module has no links: what serving links to is taken from where it is.
  networking=$(module serving knative.dev/networking) && caching=$(module serving knative.dev/caching) || return 1
  cp "$TOOLS/coredns/coredns.yaml" "$TOOLS/kingress/kingress.yaml" "$out/"
  join "$serving"/core/300-resources/*.yaml "$networking"/{certificate,domain-claim,ingress,serverlessservice}.yaml "$caching/image.yaml" \
    "$eventing"/core/resources/*.yaml "$eventing"/channels/in-memory-channel/resources/*.yaml >"$MANIFESTS/crds.yaml"
  join "$serving"/core/{100-namespace,200-serviceaccount}.yaml "$serving"/core/{200-roles,configmaps}/*.yaml "$networking/config-network.yaml" \
    "$serving"/core/webhooks/*.yaml "$serving"/core/deployments/{activator,autoscaler,controller,webhook}.yaml "$serving/core/999-cache.yaml" |
    modest >"$out/serving.yaml"
  {
    join "$eventing"/core/100-namespace.yaml "$eventing"/core/200-*.yaml "$eventing"/core/{roles,configmaps,webhooks}/*.yaml \
      "$eventing"/core/deployments/{controller,webhook,pingsource-mt-adapter,job-sink,request-reply}.yaml \
      "$eventing"/channels/in-memory-channel/200-*.yaml "$eventing"/channels/in-memory-channel/{configmaps,roles,webhooks,deployments}/*.yaml \
      "$eventing"/brokers/mt-channel-broker/roles/*.yaml "$eventing"/brokers/mt-channel-broker/deployments/{broker-filter,broker-ingress,controller}.yaml
    linked
  } | modest >"$out/eventing.yaml"
}

# module FOLDER MODULE: where its manifests are.
module() { (cd "$TOOLS/$1" && printf '%s/config' "$(go list -m -f '{{.Dir}}' "$2")"); }

join() {
  local file
  for file in "$@"; do printf -- '---\n%s\n' "$(<"$file")"; done
}

# modest: what Knative's own parts ask for would fill a node of two processors before anything of ours runs.
modest() { sed '/requests:/{n;s/cpu: .*/cpu: 10m/}'; }

# linked: two maps of images that eventing links to; nothing here uses these sources and sinks.
linked() {
  local image
  printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: eventing-transformations-images, namespace: knative-eventing}\ndata: {transform-jsonata: none}\n'
  printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: eventing-integrations-images, namespace: knative-eventing}\ndata:\n'
  for image in timer-source aws-s3-source aws-sqs-source aws-ddb-streams-source log-sink aws-s3-sink aws-sqs-sink aws-sns-sink; do
    printf '  %s: none\n' "$image"
  done
}
