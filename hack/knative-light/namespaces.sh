# shellcheck shell=bash
# Part of hack/knative-light.sh: a network with loopback only, and processes that end with their first one. Sourced, not run.

# running_namespaces prints the id of the first process in there. That a process has the id proves nothing: its program is looked
# at, too.
running_namespaces() {
  local pid
  [[ -s $RUN/pid ]] || return 1
  pid=$(<"$RUN/pid")
  [[ $(ps -ww -o args= -p "$pid" 2>/dev/null) == *"$SELF inside" ]] || return 1
  echo "$pid"
}

# enter_namespaces COMMAND... runs COMMAND as the first process of new namespaces, and waits until it says that it is ready.
enter_namespaces() {
  local own=(--net --pid --fork --kill-child --mount-proc) log=$LOGS/inside.log deadline=$((SECONDS + 3 * TIMEOUT)) holder
  [[ $(uname -s) == Linux ]] || die "it needs Linux, for network namespaces"
  if [[ $(id -u) -ne 0 ]]; then
    own+=(--user --map-current-user --keep-caps)
    unshare "${own[@]}" true 2>"$log" || {
      tail_log "$log"
      die "cannot make namespaces as this user: allow unprivileged user namespaces, or be root"
    }
  fi
  setsid unshare "${own[@]}" env BUCKETMESH_LIGHT_INSIDE=1 "$@" >"$log" 2>&1 </dev/null &
  holder=$!
  until [[ -f $RUN/ready ]]; do
    [[ -s $RUN/pid ]] || pgrep -P "$holder" >"$RUN/pid" 2>/dev/null || true
    if ! kill -0 "$holder" 2>/dev/null; then
      tail_log "$log"
      die "the start failed; see $LOGS"
    fi
    if ((SECONDS >= deadline)); then
      tail_log "$log"
      die "it is not ready after $((3 * TIMEOUT)) s (BUCKETMESH_LIGHT_TIMEOUT); see $LOGS"
    fi
    sleep 0.1
  done
  cat "$log" >&2
}

# inside COMMAND... runs COMMAND in there, with what programs there are told.
inside() {
  local pid own=(--net --pid --mount)
  pid=$(running_namespaces) || die "it is not up: hack/knative-light.sh up"
  [[ $(id -u) -eq 0 ]] || own+=(--user --preserve-credentials)
  # shellcheck disable=SC2016 # they are the inner shell's
  nsenter --target "$pid" "${own[@]}" env BUCKETMESH_LIGHT_INSIDE=1 bash -c '. "$1" && shift && exec "$@"' bash "$RUN/environment" "$@"
}

# leave_namespaces ends the first process, and with it all others.
leave_namespaces() {
  local pid deadline=$((SECONDS + 30))
  pid=$(running_namespaces) || return 0
  kill "$pid" 2>/dev/null || true
  while running_namespaces >/dev/null; do
    if ((SECONDS >= deadline)); then
      kill -9 "$pid" 2>/dev/null || true
      break
    fi
    sleep 0.1
  done
}
