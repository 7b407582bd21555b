#!/usr/bin/env bash
# Generates what is generated from the code (JSON schemas and the like) with go generate.
#
#   hack/generate.sh           generate
#   hack/generate.sh --check   generate, and fail if that changes anything
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

# state prints a sum of everything that is in the work tree and not ignored, so that the check works before a commit, too.
state() { git ls-files -z --cached --others --exclude-standard | xargs -0 cksum 2>/dev/null | sort; }

case ${1:-} in
  '') go generate ./... ;;
  --check)
    before=$(state)
    go generate ./...
    after=$(state)
    if [[ $before != "$after" ]]; then
      diff <(printf '%s\n' "$before") <(printf '%s\n' "$after") >&2 || true
      die "generated files are not up to date (above: checksum, size, file): run hack/generate.sh and commit"
    fi
    say "generated files are up to date"
    ;;
  *) die "usage: hack/generate.sh [--check]" ;;
esac
