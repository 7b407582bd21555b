#!/usr/bin/env bash
# Lints the Go code (.golangci.yml says with what, and why) and the scripts. Arguments are package patterns; none is ./...
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

GOLANGCI_LINT_PIN=github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

install_tool golangci-lint "$GOLANGCI_LINT_PIN"
"$BIN/golangci-lint" config verify
"$BIN/golangci-lint" run "${@:-./...}"
[[ $# -gt 0 ]] || (cd test/manifests && "$BIN/golangci-lint" run ./...) # a module of its own

scripts=(hack/*.sh hack/*/*.sh .ci/run)
for script in "${scripts[@]}"; do bash -n "$script"; done
if command -v shellcheck >/dev/null; then
  shellcheck -x "${scripts[@]}"
  say "shellcheck: ${#scripts[@]} scripts are clean"
else
  say "shellcheck is not installed: the ${#scripts[@]} scripts were only parsed"
fi
