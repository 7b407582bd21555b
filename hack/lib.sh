# shellcheck shell=bash
# What the scripts of this folder share: where things are, and how a tool is installed. Sourced, not run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# Everything that is downloaded, built or written by a script is under one folder, which can be kept between runs.
CACHE=${BUCKETMESH_CACHE:-$ROOT/.cache}
BIN=$CACHE/bin
NODE=$CACHE/node # programs from npm
export ROOT CACHE BIN NODE

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# install_tool NAME PACKAGE@VERSION builds a Go program into $BIN/NAME, unless that very version is already there. The
# versions are pinned by the callers: a test must not change because somebody published something.
install_tool() {
  local name=$1 pin=$2 stamp=$BIN/.$1.pin started=$SECONDS tmp
  if [[ -x $BIN/$name && -f $stamp && $(<"$stamp") == "$pin" ]]; then
    return 0
  fi
  mkdir -p "$BIN"
  # Built aside and moved: an interrupted build leaves no half a program, and two at once do no harm.
  tmp=$(mktemp -d "$BIN/.build.XXXXXX")
  say "installing $name ($pin); this is done once"
  if ! GOBIN=$tmp GOFLAGS=-buildvcs=false go install "$pin"; then
    rm -rf "$tmp"
    die "cannot install $name: go install $pin failed"
  fi
  mv -f "$tmp/$(basename "${pin%@*}")" "$BIN/$name"
  printf '%s\n' "$pin" >"$stamp"
  rm -rf "$tmp"
  say "installed $name in $((SECONDS - started)) s"
}
