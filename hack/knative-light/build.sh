# shellcheck shell=bash
# Part of hack/knative-light.sh: the programs, and Knative's own manifests. Only what is needed here is built of the modules in
# hack/cluster/tools. Sourced, not run.

KUBERNETES_VERSION=v1.34.4 # what the programs say of themselves, as in hack/cluster/env.sh
TOOLS=$ROOT/hack/cluster/tools
SERVICES=(normalizer-s3 sync conflict-resolver audit dead-letters)

build_all() {
  local flags='-s -w' package
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$KUBERNETES_VERSION -X $package.gitMajor=1 -X $package.gitMinor=34 -X $package.gitTreeState=clean"
  done
  command -v openssl >/dev/null || apt_install "install openssl" openssl
  command -v ip >/dev/null || apt_install "install iproute2" iproute2
  "$ROOT/hack/servers.sh" install minio postgres
  build_tool etcd etcd '-s -w' go.etcd.io/etcd/server/v3 # or it would be named server
  build_tool k8s '' "$flags" k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl
  build_tool eventing '' '-s -w' knative.dev/eventing/cmd/broker/filter knative.dev/eventing/cmd/broker/ingress ./lite
  collect_manifests
  # These are of this tree: the compiler knows what is up to date.
  local ours=(./services/bucketmesh ./test/knative/cmd/knative ./hack/svcproxy) service
  for service in "${SERVICES[@]}"; do ours+=("./services/$service"); done
  (cd "$ROOT" && go build -buildvcs=false -o "$PROGRAMS/" "${ours[@]}") || die "cannot build ${ours[*]}"
}

# build_tool FOLDER NAME LDFLAGS PACKAGE...: once for each version. NAME is "" for several programs.
build_tool() {
  local folder=$1 name=$2 flags=$3 stamp=$PROGRAMS/.$1.pin pin started=$SECONDS
  shift 3
  pin=$(cat "$TOOLS/$folder"/go.mod <(echo "$flags $* $(go env GOVERSION GOARCH)"; cat "$TOOLS/$folder"/lite/*.go 2>/dev/null) | cksum)
  if [[ -f $stamp && $(<"$stamp") == "$pin" ]]; then
    return 0
  fi
  say "building of hack/cluster/tools/$folder what hack/knative-light.sh needs; this is done once, and takes minutes"
  (cd "$TOOLS/$folder" && CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags="$flags" -o "$PROGRAMS/$name" "$@") ||
    die "cannot build $* in hack/cluster/tools/$folder"
  echo "$pin" >"$stamp"
  say "built hack/cluster/tools/$folder in $((SECONDS - started)) s"
}

# collect_manifests writes the resource definitions and the settings of Knative Eventing from its module. Nobody converts between
# versions here: that would take the webhook.
collect_manifests() {
  local config file
  config=$(cd "$TOOLS/eventing" && go list -m -f '{{.Dir}}' knative.dev/eventing)/config || die "cannot find the module knative.dev/eventing"
  for file in "$config"/core/resources/*.yaml "$config"/channels/in-memory-channel/resources/*.yaml; do
    printf -- '---\n'
    awk '/^  conversion:/ { skip = 1; next } skip && /^    / { next } { skip = 0; print }' "$file"
  done >"$PROGRAMS/crds.yaml.new"
  {
    cat "$ROOT/hack/knative-light/parts.yaml"
    for file in "$config"/core/configmaps/*.yaml "$config"/channels/in-memory-channel/configmaps/*.yaml; do
      printf -- '---\n%s\n' "$(<"$file")"
    done
  } >"$PROGRAMS/settings.yaml.new"
  mv "$PROGRAMS/crds.yaml.new" "$PROGRAMS/crds.yaml"
  mv "$PROGRAMS/settings.yaml.new" "$PROGRAMS/settings.yaml"
}
