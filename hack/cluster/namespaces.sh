# shellcheck shell=bash
# Part of hack/cluster.sh: the namespaces that everything is in. Their first process is hack/cluster/pause; when it ends, the kernel
# ends all others, and takes back mounts, interfaces, routes and rules. Sourced, not run.

# What the kubelet and kube-proxy would change for the whole machine. In the cluster's namespaces these are files that nobody reads.
KERNEL_SETTINGS=(vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes)

# running_cluster prints the process id of pause, as the machine sees it, if the cluster is there. An id alone proves nothing.
running_cluster() {
  local pid
  [[ -s $DIR/pause.pid ]] || return 1
  pid=$(<"$DIR/pause.pid")
  [[ $(readlink "/proc/$pid/exe") == "$PROGRAMS/pause"* ]] || return 1
  echo "$pid"
}

# inside COMMAND...: runs a command in the namespaces, in the same folder.
inside() {
  local pid
  pid=$(running_cluster) || die "the cluster is not up: hack/cluster.sh up"
  # shellcheck disable=SC2016 # expanded there
  nsenter --target "$pid" --net --mount --pid env BUCKETMESH_CLUSTER_INSIDE=1 \
    PATH="$PROGRAMS:$PATH:/usr/sbin:/sbin" KUBECONFIG="$KEYS/kubeconfig" KO_DOCKER_REPO="$REGISTRY" KO_DEFAULTBASEIMAGE="$BASE_IMAGE" \
    GOPROXY=off GOTOOLCHAIN=local bash -c 'cd "$1" && shift && exec "$@"' inside "$PWD" "$@"
}

enter_new_namespaces() {
  local parent pid deadline=$((SECONDS + 10))
  ! running_cluster >/dev/null || return 0
  end_namespaces # what is left of one that broke off
  mkdir -p "$LOGS" "$STATE"
  setsid nohup unshare --net --mount --pid --fork --kill-child --mount-proc "$PROGRAMS/pause" >"$LOGS/pause.log" 2>&1 </dev/null &
  parent=$!
  until pid=$(ps -o pid= --ppid "$parent") && [[ $(readlink "/proc/${pid// /}/exe") == "$PROGRAMS/pause" ]]; do
    if ((SECONDS >= deadline)) || ! kill -0 "$parent" 2>/dev/null; then
      die "cannot make namespaces; see $LOGS/pause.log"
    fi
    sleep 0.05
  done
  echo "${pid// /}" >"$DIR/pause.pid"
  make_cgroup
  logged namespaces "furnishing the namespaces" inside bash -euc "$(declare -p KERNEL_SETTINGS LOGS NODE_NAME NODE_IP DNS_IP); $(declare -f furnish); furnish"
}

# furnish makes the new namespaces a place to run a node in: what programs find under their usual names is the cluster's own.
furnish() {
  local setting files=/run/cluster
  mount --make-rshared / # the kubelet's mounts have to reach containerd
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p $files /run/lock
  for setting in "${KERNEL_SETTINGS[@]}"; do
    cat "/proc/sys/$setting" >"$files/${setting//\//.}"
    mount --bind "$files/${setting//\//.}" "/proc/sys/$setting"
  done
  rm -rf "${LOGS:?}/var"
  mkdir -p "$LOGS/var" /var/lib/cni
  mount --bind "$LOGS/var" /var/log # of the pods
  mount -t tmpfs tmpfs /var/lib/cni
  printf '127.0.0.1 localhost\n%s %s\n' "$NODE_IP" "$NODE_NAME" >$files/hosts
  printf 'nameserver %s\nsearch svc.cluster.local cluster.local\n' "$DNS_IP" >$files/resolv.conf
  mount --bind $files/hosts /etc/hosts
  mount --bind $files/resolv.conf /etc/resolv.conf
  ip link set lo up
}

# The pods' cgroups are below one of the cluster's own, so that two kubelets on a machine don't take each other's pods for leftovers.
cgroup_name() { echo "bucketmesh-$(printf '%s' "$DIR" | cksum | cut -d' ' -f1)"; }

cgroup_parents() {
  if [[ -f /sys/fs/cgroup/cgroup.controllers ]]; then
    echo /sys/fs/cgroup
  else
    printf '%s\n' /sys/fs/cgroup/*/ | grep -v '/unified/$'
  fi
}

make_cgroup() {
  local parent
  for parent in $(cgroup_parents); do mkdir -p "$parent/$(cgroup_name)"; done
}

end_namespaces() {
  local pid parent deadline=$((SECONDS + 20))
  if pid=$(running_cluster); then
    kill -9 "$pid"
    while kill -0 "$pid" 2>/dev/null; do
      ((SECONDS < deadline)) || die "the cluster's first process, $pid, does not end"
      sleep 0.1
    done
  fi
  rm -f "$DIR/pause.pid"
  [[ ! -d /var/lib/cni ]] || rmdir --ignore-fail-on-non-empty /var/lib/cni # the place for a mount
  for parent in /sys/fs/cgroup /sys/fs/cgroup/*/; do # also where others made one of that name
    [[ ! -d $parent/$(cgroup_name) ]] || find "$parent/$(cgroup_name)" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}

wipe() {
  rm -rf "$STATE" "$LOGS"
}
