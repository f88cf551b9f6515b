# shellcheck shell=bash disable=SC2154,SC2034 # the variables of the selected server belong to scripts/servers
# Processes, locks and addresses; sourced by scripts/servers. No flock, timeout or setsid: macOS has none.

# lock FILE is held until this process ends, however it ends: the kernel drops it. What is started meanwhile must
# not inherit descriptor 9.
lock() {
  mkdir -p "$(dirname "$1")"
  exec 9>"$1"
  if command -v flock >/dev/null; then
    flock 9
  else
    perl -MFcntl=:flock -e 'open(my $f, ">&=", 9) and flock($f, LOCK_EX) or die "lock: $!"'
  fi
}

# born PID prints what tells this process from a later one with the same number, also after a reboot; it fails when
# there is none, or only its corpse.
born() {
  local stat
  if [[ -e /proc/self/stat ]]; then
    stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 1
    stat="${stat##*) }" # the name before it may hold anything
    # shellcheck disable=SC2086 # fields, from the third on
    set -- $stat
    [[ "$1" != Z && "$1" != X ]] || return 1
    printf '%s %s\n' "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)" "${20}"
  else
    stat="$(ps -o stat= -o lstart= -p "$1" 2>/dev/null)" || return 1
    [[ -n "$stat" && "$stat" != Z* ]] || return 1
    printf '%s\n' "${stat#* }"
  fi
}

alive() {
  local now
  [[ -n "$1" ]] && now="$(born "$1")" && [[ "$now" == "$2" ]]
}

# await_end PID BORN SECONDS fails when the process is still there afterwards.
await_end() {
  local left=$(($3 * 20))
  while alive "$1" "$2"; do
    ((left-- > 0)) || return 1
    sleep 0.05
  done
}

# end_process PID BORN asks, and after half a minute insists.
end_process() {
  alive "$1" "$2" || return 0
  kill -CONT "$1" 2>/dev/null || true
  kill -TERM "$1" 2>/dev/null || true
  await_end "$1" "$2" 30 && return
  kill -KILL "$1" 2>/dev/null || true
  await_end "$1" "$2" 5
}

# spawn LOG COMMAND... starts COMMAND, which may be a function that ends in exec, with a process group of its own so
# that Ctrl-C in this terminal is not for it. Sets spawned, spawned_born.
spawn() {
  local log="$1"
  shift
  set -m
  (
    trap '' HUP
    exec >>"$log" 2>&1 </dev/null 8>&- 9>&-
    "$@"
  ) &
  spawned=$!
  set +m
  disown "$spawned" 2>/dev/null || true
  spawned_born="$(born "$spawned")" || true
}

# within SECONDS COMMAND...: COMMAND's output and success, or failure once the time is over. It gets a process group,
# so that what it started ends with it and does not keep its output open.
within() {
  local left=$(($1 * 50)) pid
  shift
  set -m
  "$@" 8>&- 9>&- &
  pid=$!
  set +m
  while kill -0 "$pid" 2>/dev/null; do
    if ((left-- <= 0)); then
      kill -KILL -- "-$pid" 2>/dev/null || true
      wait "$pid" 2>/dev/null || true
      return 1
    fi
    sleep 0.02
  done
  wait "$pid"
}

connects() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# split_url URL sets host and port, which the caller declares.
split_url() {
  local rest="${1#*://}"
  rest="${rest%%[/?]*}"
  rest="${rest##*@}"
  case "$rest" in
  \[*\]:*) host="${rest%]*}" host="${host#[}" port="${rest##*:}" ;;
  \[*\]) host="${rest#[}" host="${host%]}" port="" ;;
  *:*) host="${rest%:*}" port="${rest##*:}" ;;
  *) host="$rest" port="" ;;
  esac
  if [[ -z "$port" ]]; then
    case "$1" in
    amqps:*) port=5671 ;;
    *) port=5672 ;;
    esac
  fi
  host="${host:-127.0.0.1}"
}

# probe_url URL: a TLS address is only connected to.
probe_url() {
  local host port
  split_url "$1"
  case "$1" in
  amqps:*) within 5 connects "$host" "$port" ;;
  *) "${kind}_probe" "$host" "$port" ;;
  esac
}

# choose_ports gives the selected server a block of ten ports, s_port the first, and keeps the one that it has. The
# block follows from the folder, so that two checkouts rarely try the same; it is below the range from which Linux
# and macOS take ports for outgoing connections, since a server that a test stops must find its own port again.
choose_ports() {
  local first try block
  (
    lock "$state_root/ports.lock"
    if [[ -n "$s_port" ]] && block_is_free "$s_port"; then exit 0; fi
    first="$(cksum <<<"$dir" | cut -d ' ' -f 1)"
    for ((try = 0; try < 600; try++)); do
      block=$((26000 + (first + try) % 600 * 10))
      if block_is_free "$block" && ! block_is_taken "$block"; then
        s_port="$block"
        save_state
        exit 0
      fi
    done
    echo "error: $name: no ten free ports together between 26000 and 31999" >&2
    exit 1
  ) || return
  load_state
}

block_is_free() {
  local p
  for p in 0 1 2 3; do
    if connects 127.0.0.1 $(($1 + p)); then return 1; fi
  done
}

# block_is_taken: by a server of this checkout that is stopped at the moment.
block_is_taken() { grep -qsx "s_port=$1" "$state_root"/*/state; }
