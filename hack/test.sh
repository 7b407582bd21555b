#!/usr/bin/env bash
# Runs all tests: format, go vet, and go test -race against real servers that this script starts and stops.
#
#   hack/test.sh                              everything, the manifests' own module (test/manifests) included
#   hack/test.sh ./pkg/object/... -run Race   arguments of go test, in place of ./...
#
# Environment:
#   BUCKETMESH_TEST_PORT_BASE   first of twenty ports of the servers (default: 19020; two runs at once need two)
#   BUCKETMESH_TEST_TIMEOUT     of one package's tests              (default: 15m)
#   BUCKETMESH_CACHE            see hack/servers.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

TIMEOUT=${BUCKETMESH_TEST_TIMEOUT:-15m}
export BUCKETMESH_PORT_BASE=${BUCKETMESH_TEST_PORT_BASE:-19020}
export BUCKETMESH_SERVERS_DIR=$CACHE/test-servers-$BUCKETMESH_PORT_BASE
# The credentials are new in each run. Tests read them, so go test never answers from its cache for a test that talks to a
# server; for all other tests it may.
BUCKETMESH_S3_ACCESS_KEY=test$(date +%s)$$
export BUCKETMESH_S3_ACCESS_KEY

modules=()
[[ $# -gt 0 ]] || { set -- ./... && modules=(test/manifests); }
log=$(mktemp)
finish() {
  hack/servers.sh wipe || true
  rm -f "$log"
}
trap finish EXIT
trap 'exit 130' INT TERM

failed=()

unformatted=$(git ls-files -z --cached --others --exclude-standard -- '*.go' | while IFS= read -r -d '' file; do
  [[ ! -f $file ]] || printf '%s\0' "$file"
done | xargs -0 gofmt -l)
if [[ -n $unformatted ]]; then
  say "gofmt: not formatted:"
  say "$unformatted"
  failed+=(gofmt)
fi

go vet ./... || failed+=("go vet")

hack/servers.sh wipe # what an interrupted run left behind
hack/servers.sh up
vars=$(hack/servers.sh env)
eval "$vars"

go test -race -timeout "$TIMEOUT" "$@" 2>&1 | tee "$log" || failed+=("go test")
for module in "${modules[@]}"; do # they need no server, and hold nothing that races; -count=1: they look at files of another module
  (cd "$module" && go vet ./... && go test -count=1 -timeout "$TIMEOUT" ./...) 2>&1 | tee -a "$log" || failed+=("go test in $module")
done

# What calls Knative's own filters, which race with themselves.
go test -count=1 -timeout "$TIMEOUT" ./test/knative 2>&1 | tee -a "$log" || failed+=("go test in test/knative")

ok=$(grep -c '^ok ' "$log" || true)
broken=$(grep -E '^FAIL[[:space:]]+[^[:space:]]' "$log" || true)
if [[ ${#failed[@]} -gt 0 ]]; then
  [[ -z $broken ]] || printf '\n%s\n' "$broken"
  printf 'FAIL\thack/test.sh\t%ss\t%s packages ok; failed: %s\n' "$SECONDS" "$ok" "$(IFS=,; echo "${failed[*]}")"
  exit 1
fi
printf 'ok  \thack/test.sh\t%ss\t%s packages ok\n' "$SECONDS" "$ok"
