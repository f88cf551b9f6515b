# shellcheck shell=bash disable=SC2154,SC2034 # the variables of the selected server belong to scripts/servers
# RabbitMQ, of two lines; sourced by scripts/servers. Ports of its block: AMQP, AMQP over TLS, distribution, epmd.

rabbitmq_wants() { # VERSION: is it of the line that the selected name stands for?
  case "${name%%@*}:$1" in
  rabbitmq:3.1[0-9].* | rabbitmq4:4.*) ;;
  *) return 1 ;;
  esac
}

# rabbitmq_installed sets s_bin, s_version to what is installed on this system. Not the commands on the PATH where a
# package has others: Debian's turn themselves into the user rabbitmq and allow nobody else. The version is read from
# the name of a folder, since asking the tool starts an epmd.
rabbitmq_installed() {
  local f home plugin on_path
  on_path="$(command -v rabbitmq-server || true)"
  for f in /usr/lib/rabbitmq/bin "${on_path%/*}" /opt/homebrew/opt/rabbitmq/sbin /usr/local/opt/rabbitmq/sbin; do
    [[ -n "$f" && -x "$f/rabbitmq-server" && -x "$f/rabbitmqctl" ]] || continue
    home="$(follow "$f/rabbitmq-server")"
    home="${home%/*/*}"
    for plugin in "$home"/plugins/rabbit-[0-9]* "$home"/lib/rabbitmq_server-*/plugins/rabbit-[0-9]*; do
      [[ -e "$plugin" ]] || continue
      s_bin="$f" s_root="" s_version="${plugin##*/rabbit-}"
      s_version="${s_version%.ez}"
      return
    done
  done
  return 1
}

# follow FILE prints what it is in the end a link to.
follow() {
  local f="$1" to
  while [[ -L "$f" ]]; do
    to="$(readlink "$f")"
    [[ "$to" == /* ]] || to="${f%/*}/$to"
    f="$to"
  done
  (cd -P "${f%/*}" && printf '%s/%s\n' "$PWD" "${f##*/}")
}

rabbitmq_acquire() {
  local line=3.10 suite=bookworm found="" candidate folder
  [[ "${name%%@*}" == rabbitmq ]] || line=4.x suite=trixie
  if rabbitmq_installed; then
    rabbitmq_wants "$s_version" && return
    found="$s_version"
  fi
  if ! can_install; then
    why="no RabbitMQ is installed"
    [[ -z "$found" ]] || why="the installed RabbitMQ is $found, not $line"
    why="no Docker engine answers, $why, and only root on Debian or Ubuntu can have it installed by this script"
    return 1
  fi
  install_lock
  if [[ -z "$found" ]] && candidate="$(apt_candidate rabbitmq-server)" && rabbitmq_wants "$candidate"; then
    # Another `up` may have installed it while this one waited for the lock.
    if ! rabbitmq_installed; then
      apt_install rabbitmq-server || return
      service_off rabbitmq-server epmd.socket epmd
      rabbitmq_installed || { why="rabbitmq-server was installed, but does not run"; return 1; }
    fi
    exec 8>&-
    return
  fi
  release_folder "$suite" rabbitmq-server || return
  exec 8>&-
  s_root="$folder" s_bin=/usr/lib/rabbitmq/bin
  s_version="$(awk '/^Package: rabbitmq-server$/ {p = 1} p && /^Version:/ {print $2; exit}' "$folder/var/lib/dpkg/status")"
}

# rabbitmq_run COMMAND...: replaces this process by COMMAND in the surroundings of the selected server: nothing of the
# machine's own RabbitMQ is read or written. With a name server (epmd) of its own, its node name meets no other.
rabbitmq_run() {
  local base="$dir" path="$PATH"
  [[ -z "$s_root" ]] || base=/mnt path=/usr/sbin:/usr/bin:/sbin:/bin
  set -- /usr/bin/env -i PATH="$path" HOME="$base/home" LANG=C.UTF-8 \
    ERL_EPMD_PORT=$((s_port + 3)) ERL_EPMD_ADDRESS=127.0.0.1 \
    RABBITMQ_NODENAME=anyqueue@localhost RABBITMQ_DIST_PORT=$((s_port + 2)) \
    RABBITMQ_CONFIG_FILE="$base/rabbitmq.conf" RABBITMQ_CONF_ENV_FILE="$base/env.conf" \
    RABBITMQ_ADVANCED_CONFIG_FILE="$base/advanced.config" RABBITMQ_ENABLED_PLUGINS_FILE="$base/plugins" \
    RABBITMQ_MNESIA_BASE="$base" RABBITMQ_MNESIA_DIR="$base/data" RABBITMQ_FEATURE_FLAGS_FILE="$base/feature_flags" \
    RABBITMQ_LOG_BASE="$base/log" RABBITMQ_LOGS=- RABBITMQ_PID_FILE="$base/pid" \
    RUNNING_UNDER_SYSTEMD=true \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}" \
    "$@"
  if [[ -n "$s_root" ]]; then in_release "$s_root" "$dir" "$@"; fi
  exec "$@"
}

rabbitmq_configure() {
  local base="$dir/tls" amqp="127.0.0.1:$s_port" amqps="127.0.0.1:$((s_port + 1))"
  [[ -z "$s_root" ]] || base=/mnt/tls
  [[ "$s_provider" != docker ]] || base=/etc/rabbitmq/tls amqp=5672 amqps=5671
  [[ -n "$s_password" ]] || s_password="$(random_hex)"
  mkdir -p "$dir/home" "$dir/tls"
  if [[ ! -f "$dir/home/.erlang.cookie" ]]; then
    (umask 077 && random_hex >"$dir/home/.erlang.cookie")
  fi
  : >"$dir/env.conf"
  echo '[].' >"$dir/plugins"
  echo '[].' >"$dir/advanced.config"
  s_tls=yes
  if ! make_certificates "$dir/tls"; then
    s_tls=no
    note_or_fail "$name: no TLS, because openssl is missing or failed (see $dir/tls.log); tests of TLS are left out" || return
  fi
  # The limits are absolute, so that neither a small disk nor a neighbour's memory raises an alarm. The log of the
  # quorum queues counts as memory, and at its default of 512 MB it would be most of it.
  cat >"$dir/rabbitmq.conf" <<END
listeners.tcp.1 = $amqp
default_user = anyqueue
default_pass = $s_password
vm_memory_high_watermark.absolute = 1500MB
disk_free_limit.absolute = 50MB
raft.wal_max_size_bytes = 134217728
END
  [[ "$s_tls" == yes ]] || return 0
  cat >>"$dir/rabbitmq.conf" <<END
listeners.ssl.1 = $amqps
ssl_options.cacertfile = $base/ca.pem
ssl_options.certfile = $base/server.pem
ssl_options.keyfile = $base/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
END
}

random_hex() { od -An -N 16 -tx1 /dev/urandom | tr -d ' \n'; }

rabbitmq_launch() {
  if ! alive "$s_epmd_pid" "$s_epmd_born"; then
    spawn "$dir/epmd.log" rabbitmq_run epmd -port $((s_port + 3)) -address 127.0.0.1
    s_epmd_pid="$spawned" s_epmd_born="$spawned_born"
    save_state
    local left=100
    until connects 127.0.0.1 $((s_port + 3)); do
      if ! alive "$s_epmd_pid" "$s_epmd_born" || ((left-- <= 0)); then
        echo "error: $name: Erlang's epmd did not start: $(tail -n 1 "$dir/epmd.log")" >&2
        return 1
      fi
      sleep 0.1
    done
  fi
  spawn "$dir/server.log" rabbitmq_run "$s_bin/rabbitmq-server"
  s_pid="$spawned" s_born="$spawned_born"
}

rabbitmq_helpers_stop() { end_process "$s_epmd_pid" "$s_epmd_born"; }

# rabbitmq_probe HOST PORT: greets as a client and reads the version from the answer.
rabbitmq_probe() { within 5 rabbitmq_greet "$1" "$2"; }

rabbitmq_greet() {
  local answer
  { exec 3<>"/dev/tcp/$1/$2"; } 2>/dev/null || return 1
  printf 'AMQP\000\000\011\001' >&3
  answer="$(dd bs=4096 count=1 <&3 2>/dev/null | LC_ALL=C tr -c '[:print:]' '\n')"
  exec 3>&-
  [[ "$answer" == *versionS* ]] || return 1
  awk '/versionS$/ {v = 1; next} v && NF {print; exit}' <<<"$answer"
}

rabbitmq_url() { printf 'amqp://anyqueue:%s@127.0.0.1:%d/\n' "$s_password" "$s_port"; }

rabbitmq_exports() {
  [[ "$s_tls" == yes ]] || return 0
  printf 'export %s_TLS_URL=%q\n' "$prefix" "amqps://anyqueue:$s_password@127.0.0.1:$((s_port + 1))/"
  printf 'export %s_CA=%q\n' "$prefix" "$dir/tls/ca.pem"
  printf 'export %s_CERT=%q\n' "$prefix" "$dir/tls/client.pem"
  printf 'export %s_KEY=%q\n' "$prefix" "$dir/tls/client.key"
}

rabbitmq_ctl() {
  if [[ "$s_provider" == docker ]]; then
    docker_compose exec -T "${name%%@*}" rabbitmqctl "$@"
  else
    (rabbitmq_run "$s_bin/rabbitmqctl" "$@")
  fi
}
