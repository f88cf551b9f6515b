# shellcheck shell=bash disable=SC2154,SC2034 # the variables of the selected server belong to scripts/servers
# What is remembered of a server that was started; sourced by scripts/servers.

state_vars=(s_name s_provider s_version s_port s_pid s_born s_stopped s_password s_root s_bin s_epmd_pid s_epmd_born s_tls)

load_state() {
  local v
  for v in "${state_vars[@]}"; do printf -v "$v" '%s' ""; done
  # shellcheck disable=SC1091 # written by save_state
  [[ ! -f "$dir/state" ]] || source "$dir/state"
}

save_state() {
  local v
  s_name="$name"
  for v in "${state_vars[@]}"; do printf '%s=%q\n' "$v" "${!v}"; done >"$dir/state.new"
  mv "$dir/state.new" "$dir/state"
}

# known_names prints the names of all servers of this checkout that were started and not ended by `down`.
known_names() {
  local f
  for f in "$state_root"/*/state; do
    [[ -f "$f" ]] || continue
    # shellcheck disable=SC1090
    (source "$f" && echo "$s_name")
  done
}

known_instances() { known_names | grep @ || true; }
