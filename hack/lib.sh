# shellcheck shell=bash
# What the scripts of this folder share: where things are, and how a tool is installed. Sourced, not run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# Everything that is downloaded, built or written by a script is under one folder, which can be kept between runs.
CACHE=${BUCKETMESH_CACHE:-$ROOT/.cache}
BIN=$CACHE/bin
# Programs from npm, in a folder for each set of versions.
NODE=$CACHE/node/$(cat "$ROOT"/hack/node/{package.json,package-lock.json,.npmrc,sqs.mjs} | cksum | cut -d' ' -f1)
export ROOT CACHE BIN NODE

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

tail_log() {
  say "--- the end of $1"
  tail -n 20 "$1" >&2 || true
}

# connects PORT [HOST]: somebody listens there.
connects() { (exec 3<>"/dev/tcp/${2:-127.0.0.1}/$1") 2>/dev/null; }

# http_ok PORT PATH [STATUS [HOST]]: a GET is answered with 200 (or STATUS). Bash itself asks, so that nothing has to be
# installed for it.
http_ok() (
  exec 2>/dev/null 3<>"/dev/tcp/${4:-127.0.0.1}/$1" || exit 1
  printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$2" >&3
  IFS= read -r -t 3 line <&3 && [[ $line == "HTTP/1.1 ${3:-200}"* ]]
)

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

# apt_install MEND PACKAGE...: installs what a server needs from the system, or says what to do instead.
apt_install() {
  local mend=$1 log=$CACHE/apt.log sudo=()
  shift
  command -v apt-get >/dev/null || die "cannot install $*: there is no apt-get; $mend"
  [[ $(id -u) -eq 0 ]] || sudo=(sudo -n)
  mkdir -p "$CACHE"
  say "installing $* with apt-get; this is done once"
  {
    "${sudo[@]}" apt-get update -q && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
  } >"$log" 2>&1 || {
    tail_log "$log"
    die "cannot install $*: $mend"
  }
}

# install_node installs what hack/node/package-lock.json names into $NODE, unless it is there. No package's script is run.
install_node() {
  local mend="install Node.js 20 or newer, so that node and npm are on PATH" log=$CACHE/npm.log tmp started=$SECONDS major
  if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    apt_install "$mend" nodejs npm
  fi
  major=$(node -p 'process.versions.node.split(".")[0]') || die "node does not run: $mend"
  [[ $major -ge 20 ]] || die "node $(node --version) is too old for fauxqs: $mend"
  [[ ! -d $NODE ]] || return 0
  mkdir -p "$CACHE/node"
  # Installed aside and moved, as install_tool does: what is there is whole.
  tmp=$(mktemp -d "$CACHE/node/.install.XXXXXX")
  cp "$ROOT"/hack/node/{package.json,package-lock.json,.npmrc,sqs.mjs} "$tmp/"
  say "installing Azurite and fauxqs with npm (hack/node); this is done once"
  if ! (cd "$tmp" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier >"$log" 2>&1); then
    rm -rf "$tmp"
    tail_log "$log"
    die "cannot install what hack/node/package-lock.json names: npm ci failed"
  fi
  mv "$tmp" "$NODE"
  say "installed Azurite and fauxqs in $((SECONDS - started)) s"
}
