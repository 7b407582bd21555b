# shellcheck shell=bash
# Part of hack/cluster.sh: what is up. Sourced, not run.

# status [--output json]
status() {
  local output=text lines='' rc=0 kind name state first=true
  case "$*" in
    '') ;;
    '--output json' | '--output=json') output=json ;;
    *) die "status: --output json is all that it knows" ;;
  esac
  need_root
  if running_cluster >/dev/null; then
    lines=$(inside bash -c "$(declare -p DAEMONS PIDS); $(declare -f alive parts); parts")
  else
    lines='cluster namespaces down'
  fi
  [[ $output == text ]] || printf '['
  while read -r kind name state; do
    [[ $state == ready ]] || rc=1
    if [[ $output == json ]]; then
      $first || printf ', '
      printf '{"kind": "%s", "name": "%s", "state": "%s"}' "$kind" "$name" "$state"
      first=false
    else
      printf '%-11s %-45s %s\n' "$kind" "$name" "$state"
    fi
  done <<<"$lines"
  [[ $output == text ]] || printf ']\n'
  return "$rc"
}

# parts prints a line "kind name state" for each part, within the namespaces.
parts() {
  local name
  for name in "${DAEMONS[@]}"; do
    if alive "$name"; then echo "process $name ready"; else echo "process $name down"; fi
  done
  kubectl --request-timeout=10s get deployments -A --no-headers \
    -o 'custom-columns=N:.metadata.namespace,D:.metadata.name,W:.spec.replicas,R:.status.readyReplicas' 2>/dev/null |
    while read -r namespace name wanted ready; do
      [[ $ready != '<none>' ]] || ready=0
      if [[ $wanted == "$ready" ]]; then echo "deployment $namespace/$name ready"; else echo "deployment $namespace/$name $ready of $wanted"; fi
    done
}
