# shellcheck shell=bash disable=SC2154,SC2034 # the variables of the selected server belong to scripts/servers
# Packages of Debian and Ubuntu, of this system and of another release in a folder; sourced by scripts/servers. Each
# function sets `why` when it fails.

# install_lock serialises what is downloaded into $tools, between checkouts too.
install_lock() {
  mkdir -p "$tools"
  exec 8>"$tools/servers.lock"
  if command -v flock >/dev/null; then flock 8; fi # apt and debootstrap are on Linux only
}

can_install() {
  [[ "$(id -u)" == 0 ]] && command -v apt-get >/dev/null
}

# apt_candidate PACKAGE prints the version that apt would install, after one update if it knows none.
apt_candidate() {
  local version
  version="$(apt-cache policy "$1" 2>/dev/null | awk '/Candidate:/ {print $2}')"
  if [[ -z "$version" || "$version" == "(none)" ]]; then
    apt_update
    version="$(apt-cache policy "$1" 2>/dev/null | awk '/Candidate:/ {print $2}')"
  fi
  [[ -n "$version" && "$version" != "(none)" ]] && printf '%s\n' "$version"
}

apt_update() {
  echo "servers: $name: apt-get update" >&2
  apt-get update -qq >"$tools/apt.log" 2>&1 || true # what is missing shows when it is installed
}

# apt_install PACKAGE...: no service of theirs is left running.
apt_install() {
  local policy=/usr/sbin/policy-rc.d made=no rc=0
  echo "servers: $name: installing $* with apt" >&2
  # One that an interrupted run of this script has left is ours, too.
  if [[ ! -e "$policy" ]] || grep -q 'anyqueue' "$policy"; then
    printf '#!/bin/sh\n# anyqueue: no service is started while its servers are installed\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made=yes
  fi
  # A list that is too old names files that are gone: once more after an update.
  try_apt_install "$@" || { apt_update && try_apt_install "$@"; } || rc=1
  [[ "$made" == no ]] || rm -f "$policy"
  if [[ "$rc" != 0 ]]; then
    why="apt-get install $* failed: $(grep -h '^E:' "$tools/apt.log" | tail -n 1)"
    return 1
  fi
}

try_apt_install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >"$tools/apt.log" 2>&1 8>&- 9>&-
}

# service_off SERVICE...: called right after the package was installed by us, so that nobody's service is ended.
service_off() {
  local unit
  command -v systemctl >/dev/null || return 0
  for unit in "$@"; do
    systemctl disable --quiet "$unit" >/dev/null 2>&1 || true
    [[ ! -d /run/systemd/system ]] || systemctl stop "$unit" >/dev/null 2>&1 || true
  done
}

# apt_mirror prints where this system's own packages come from, if it is a Debian; debootstrap knows a default for
# every other.
apt_mirror() {
  # shellcheck disable=SC2016 # apt's own placeholder
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -m1 -E '/debian/?$' || true
}

# release_folder SUITE PACKAGE sets folder, which the caller declares, to a minimal Debian of that release with
# PACKAGE in it: what this system does not package runs from there by chroot.
release_folder() {
  local suite="$1" package="$2" arch mirror partial
  arch="$(dpkg --print-architecture)" || { why="no dpkg here"; return 1; }
  mirror="${ANYQUEUE_DEBIAN_MIRROR:-$(apt_mirror)}"
  folder="$tools/debian-$suite-$arch-$package"
  if ! unshare -m true 2>/dev/null; then
    why="the server would run in a Debian folder of its own, and this machine permits no mounts (unshare -m fails)"
    return 1
  fi
  [[ ! -f "$folder/.complete" ]] || return 0
  if [[ -z "$(command -v debootstrap)" || ! -f /usr/share/keyrings/debian-archive-keyring.gpg ]]; then
    apt_install debootstrap debian-archive-keyring || return
  fi
  # An older debootstrap does not know the name of a newer release; all are built alike.
  local script=()
  [[ -z "$mirror" ]] || script=("$mirror")
  [[ -z "$mirror" || -e "/usr/share/debootstrap/scripts/$suite" ]] || script+=(/usr/share/debootstrap/scripts/sid)
  partial="$folder.partial"
  rm -rf "$partial" "$folder"
  echo "servers: $name: fetching $package of Debian $suite into $folder (a minute or two, once)" >&2
  if ! debootstrap --variant=minbase --include="$package" "$suite" "$partial" ${script[@]+"${script[@]}"} >"$tools/debootstrap.log" 2>&1 8>&- 9>&-; then
    why="debootstrap $suite failed: $(grep -hE '^[EW]:' "$tools/debootstrap.log" "$partial/debootstrap/debootstrap.log" 2>/dev/null | tail -n 1) (see $tools/debootstrap.log)"
    return 1
  fi
  rm -rf "$partial"/var/cache/apt/archives/*.deb "$partial"/var/lib/apt/lists/*
  touch "$partial/.complete"
  mv "$partial" "$folder"
}

# in_release FOLDER DATA COMMAND...: replaces this process by COMMAND in that Debian, where DATA is /mnt. The mounts
# are seen by COMMAND alone and go with it.
in_release() {
  # shellcheck disable=SC2016 # expanded by the inner shell
  exec unshare -m /bin/sh -c '
    mount -t proc proc "$1/proc" && mount --bind "$2" "$1/mnt" || exit
    root="$1"; shift 2
    cd / && exec chroot "$root" "$@"' sh "$@"
}
