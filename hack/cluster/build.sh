# shellcheck shell=bash
# Part of hack/cluster.sh: the programs. Each folder in hack/cluster/tools is a Go module of its own, so that nothing of what a
# cluster needs is in the go.mod of bucketmesh. Sourced, not run.

# Programs of the system that are used, each with the package that has it.
SYSTEM=(containerd:containerd runc:runc /usr/lib/cni/bridge:containernetworking-plugins iptables:iptables nft:nftables
  conntrack:conntrack ethtool:ethtool openssl:openssl ip:iproute2 nsenter:util-linux)

install_system() {
  local entry missing=()
  for entry in "${SYSTEM[@]}"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${entry%:*}" >/dev/null || missing+=("${entry##*:}")
  done
  [[ ${#missing[@]} -eq 0 ]] || apt_install "install these packages by hand" "${missing[@]}"
}

# build_programs builds those that are not there at their pinned versions.
build_programs() {
  local v=$KUBERNETES_VERSION package flags='-s -w'
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$v -X $package.gitMajor=1 -X $package.gitMinor=$(cut -d. -f2 <<<"$v") -X $package.gitTreeState=clean"
  done
  build_tool ko tool
  build_tool etcd tool
  build_tool k8s tool "$flags"
  # The images are built in the cluster's namespace, which reaches no network.
  for package in coredns kingress serving eventing; do
    (cd "$TOOLS/$package" && go mod download) || die "cannot download the modules of hack/cluster/tools/$package"
  done
  (cd "$ROOT" && go mod download && CGO_ENABLED=0 go build -buildvcs=false -trimpath -o "$PROGRAMS/pause" ./hack/cluster/pause) ||
    die "cannot build hack/cluster/pause"
}

# build_tool FOLDER PACKAGE [LDFLAGS]: it is a lot of work, and makes way for others.
build_tool() {
  local folder=$1 package=$2 flags=${3:--s -w} stamp=$PROGRAMS/.$1.pin pin started=$SECONDS
  pin=$(cat "$TOOLS/$folder/go.mod" <(echo "$flags $(go env GOVERSION GOARCH)") | cksum)
  if [[ -f $stamp && $(<"$stamp") == "$pin" ]]; then
    return 0
  fi
  say "building hack/cluster/tools/$folder; this is done once, and takes minutes"
  (cd "$TOOLS/$folder" && CGO_ENABLED=0 nice -n 10 go build -buildvcs=false -trimpath -ldflags="$flags" -o "$PROGRAMS/" "$package") ||
    die "cannot build hack/cluster/tools/$folder"
  echo "$pin" >"$stamp"
  say "built hack/cluster/tools/$folder in $((SECONDS - started)) s"
}
