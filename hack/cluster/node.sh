# shellcheck shell=bash
# Part of hack/cluster.sh: the node, as plain processes. All of it runs within the namespaces. Sourced, not run.

CONFIG=$DIR/config # written anew by each start
PIDS=/run/cluster/pids
# shellcheck disable=SC2034 # for status
DAEMONS=(etcd apiserver containerd registry controller-manager scheduler proxy kubelet)

# alive DAEMON: ids are the namespace's own, and so is the folder that they are in: they can't be somebody else's for long.
alive() { [[ -s $PIDS/$1 ]] && kill -0 "$(<"$PIDS/$1")" 2>/dev/null; }

# daemon NAME COMMAND...: starts a process that outlives the script, unless it runs.
daemon() {
  local name=$1
  shift
  ! alive "$name" || return 0
  setsid nohup "$@" >>"$LOGS/$name.log" 2>&1 </dev/null &
  echo $! >"$PIDS/$name"
}

# end_daemon NAME: asks first.
end_daemon() {
  local deadline=$((SECONDS + 15))
  alive "$1" || return 0
  kill "$(<"$PIDS/$1")"
  while alive "$1"; do
    ((SECONDS < deadline)) || { kill -9 "$(<"$PIDS/$1")" && break; }
    sleep 0.1
  done
}

start_node() {
  mkdir -p "$PIDS" "$CONFIG/cni" "$STATE"/{etcd,containerd,kubelet,registry}
  make_network
  write_config
  start_control_plane
  daemon containerd containerd -c "$CONFIG/containerd.toml"
  daemon registry crane registry serve --address 127.0.0.1:5000 --disk "$STATE/registry"
  eventually "$TIMEOUT" "$LOGS/registry.log" "the registry is ready" crane catalog "$REGISTRY"
  publish_pause
  eventually "$TIMEOUT" "$LOGS/containerd.log" "containerd is ready" ctr -a "$CONTAINERD" version
  daemon kubelet kubelet --config="$CONFIG/kubelet.yaml" --kubeconfig="$KUBECONFIG" --hostname-override="$NODE_NAME" --node-ip="$NODE_IP" --root-dir="$STATE/kubelet"
  daemon proxy kube-proxy --config="$CONFIG/proxy.yaml"
  eventually "$TIMEOUT" "$LOGS/kubelet.log" "the node is ready" kubectl wait node "$NODE_NAME" --for=condition=Ready --timeout=1s
}

start_control_plane() {
  daemon etcd etcd --data-dir "$STATE/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --log-level warn --unsafe-no-fsync
  daemon apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address="$NODE_IP" --advertise-address="$NODE_IP" \
    --tls-cert-file="$KEYS/apiserver.crt" --tls-private-key-file="$KEYS/apiserver.key" --client-ca-file="$KEYS/ca.crt" \
    --kubelet-client-certificate="$KEYS/admin.crt" --kubelet-client-key="$KEYS/admin.key" --kubelet-certificate-authority="$KEYS/ca.crt" \
    --kubelet-preferred-address-types=InternalIP --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$KEYS/serviceaccount.pub" --service-account-signing-key-file="$KEYS/serviceaccount.key" \
    --service-cluster-ip-range="$SERVICE_CIDR" --authorization-mode=RBAC --allow-privileged=true --profiling=false
  eventually "$TIMEOUT" "$LOGS/apiserver.log" "the API server is ready" kubectl get --raw=/readyz
  daemon controller-manager kube-controller-manager --kubeconfig="$KUBECONFIG" --bind-address=127.0.0.1 --leader-elect=false \
    --service-account-private-key-file="$KEYS/serviceaccount.key" --root-ca-file="$KEYS/ca.crt" --use-service-account-credentials=true --profiling=false
  daemon scheduler kube-scheduler --kubeconfig="$KUBECONFIG" --bind-address=127.0.0.1 --leader-elect=false --profiling=false
}

# stop_node keeps what etcd has; the pods end with their namespaces, as in a power cut, and the kubelet starts them again.
stop_node() {
  local name
  for name in kubelet scheduler controller-manager proxy apiserver etcd registry; do end_daemon "$name"; done
}

# make_network: one bridge for the pods, which carries the node's own address, too.
make_network() {
  if ! ip link show pods >/dev/null 2>&1; then
    ip link add pods type bridge
    ip addr add "$NODE_IP/24" dev pods
    ip link set pods up
  fi
  ip route replace "$SERVICE_CIDR" dev pods # without a default route, service addresses need one before they are translated
  [[ -d /proc/sys/net/bridge ]] || modprobe br_netfilter || die "the kernel has no br_netfilter, which services need"
  sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
}

write_config() {
  echo "nameserver 127.0.0.1" >"$CONFIG/resolv.conf" # of CoreDNS itself, which must not ask itself
  cat >"$CONFIG/cni/10-bridge.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/cluster/addresses", "routes": [{"dst": "0.0.0.0/0"}],
            "ranges": [[{"subnet": "$POD_CIDR", "rangeStart": "$POD_FIRST", "gateway": "$NODE_IP"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
  cat >"$CONFIG/containerd.toml" <<TOML
version = 2
root = "$STATE/containerd"
state = "/run/containerd"
[grpc]
  address = "$CONTAINERD"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  enable_unprivileged_ports = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$CONFIG/cni"
TOML
  cat >"$CONFIG/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$CONTAINERD
cgroupDriver: cgroupfs
cgroupRoot: /$(cgroup_name)
failCgroupV1: false
failSwapOn: false
address: $NODE_IP
healthzBindAddress: 127.0.0.1
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
resolvConf: $CONFIG/resolv.conf
volumePluginDir: $STATE/kubelet/volume-plugins
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $KEYS/ca.crt}}
authorization: {mode: AlwaysAllow}
tlsCertFile: $KEYS/kubelet.crt
tlsPrivateKeyFile: $KEYS/kubelet.key
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100 # after a restart the registry is empty, and what containerd has is all there is
maxPods: 110
serializeImagePulls: false
YAML
  cat >"$CONFIG/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $KUBECONFIG}
hostnameOverride: $NODE_NAME
mode: nftables
clusterCIDR: $POD_CIDR
bindAddress: $NODE_IP
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0} # the limit is the machine's, not the namespace's
YAML
}
