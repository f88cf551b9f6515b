# shellcheck shell=bash disable=SC2154,SC2034 # the variables of the selected server belong to scripts/servers
# Servers in containers, by Docker Compose; sourced by scripts/servers.

docker_answers() {
  command -v docker >/dev/null && docker compose version >/dev/null 2>&1 && within 10 docker info >/dev/null 2>&1
}

# docker_compose ARGS... on the selected server. Each server is a project of its own, named after its folder, so that
# several checkouts and instances do not meet.
docker_compose() {
  ANYQUEUE_DIR="$dir" ANYQUEUE_PORT="$s_port" ANYQUEUE_TLS_PORT="$((s_port + 1))" \
    docker compose --file scripts/servers.d/compose.yaml --profile "${name%%@*}" \
    --project-name "anyqueue-${name/@/-}-$(cksum <<<"$dir" | cut -d ' ' -f 1)" --ansi never "$@" 9>&-
}

docker_up() {
  docker_compose up --detach --quiet-pull >"$dir/docker.log" 2>&1 && return
  echo "error: $name: docker compose up failed:" >&2
  tail -n 5 "$dir/docker.log" | sed 's/^/    /' >&2
  return 1
}

docker_runs() { [[ -n "$(docker_compose ps --quiet --status running --status paused 2>/dev/null)" ]]; }
