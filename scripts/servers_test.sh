#!/usr/bin/env bash
# Tests scripts/servers: what can go wrong around a server that runs well. Quick; downloads nothing.
source "$(dirname "$0")/lib.sh"

work="$(mktemp -d)"
export ANYQUEUE_SERVERS_STATE="$work/state"
tools="${ANYQUEUE_TOOLS:-${XDG_CACHE_HOME:-${HOME:-$PWD/.cache}/.cache}/anyqueue-tools}"
original_path="$PATH"
for v in $(compgen -v ANYQUEUE_RABBITMQ || true); do unset "$v"; done

clean_up() {
  scripts/servers down >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

failures=0
fail() {
  echo "error: $claim: $*" >&2
  failures=$((failures + 1))
}

# run COMMAND...: its exit code is in rc, all that it prints in out.
run() {
  rc=0
  out="$("$@" 2>&1)" || rc=$?
}

want() { # CODE TEXT: what the last run must have ended with and said
  [[ "$rc" == "$1" ]] || fail "exit code $rc, want $1; it said: $out"
  [[ "$out" == *"$2"* ]] || fail "it said: $out; want: $2"
}

# fakes FOLDER is put before the PATH; docker there finds no engine until a test says otherwise.
mkdir -p "$work/fakes" "$work/user"
printf '#!/bin/sh\nexit 1\n' >"$work/fakes/docker"
printf '#!/bin/sh\necho 1000\n' >"$work/user/id"
chmod +x "$work/fakes/docker" "$work/user/id"
export PATH="$work/fakes:$original_path"

claim="a name that is none is refused"
run scripts/servers up rabbit
want 2 "no server is called 'rabbit'"
run scripts/servers status rabbitmq@../x
want 2 "no server is called"

claim="an address from the environment that does not answer is said, and nothing is started"
run env ANYQUEUE_RABBITMQ_URL=amqp://u:secret@127.0.0.1:9/ scripts/servers up rabbitmq
want 1 "ANYQUEUE_RABBITMQ_URL is set, but nothing answers at 127.0.0.1:9"
[[ "$out" != *secret* ]] || fail "it tells the password"
run env ANYQUEUE_RABBITMQ_URL=amqp://u:p@127.0.0.1:9/ scripts/servers status rabbitmq
want 0 "does not answer"
[[ -z "$(scripts/servers started)" ]] || fail "something was started"

claim="a server at an address from the environment is not controlled"
for c in stop start kill freeze thaw "ctl rabbitmq"; do
  # shellcheck disable=SC2086 # a word or two
  set -- $c
  run env ANYQUEUE_RABBITMQ_URL=amqp://127.0.0.1:9 scripts/servers "$1" rabbitmq
  want 3 "only a server started by scripts/servers up can be controlled"
done

claim="a server that cannot be had is a note, and with CI=true a failure"
missing=rabbitmq4
if compgen -G '/usr/lib/rabbitmq/lib/rabbitmq_server-4*' >/dev/null; then missing=rabbitmq; fi
if [[ "$(PATH="$original_path" command -v rabbitmq-server)" != */sbin/rabbitmq-server || "$(uname)" == Linux ]]; then
  run env CI= PATH="$work/user:$PATH" scripts/servers up "$missing"
  want 0 "note: $missing cannot be had here"
  run env CI=true PATH="$work/user:$PATH" scripts/servers up "$missing"
  want 1 "error: $missing cannot be had here"
else
  echo "note: $claim: not tested with a RabbitMQ from Homebrew"
fi

claim="where a Docker engine answers a server is a container"
# The engine is a script that notes what it is asked to; the broker in it greets like one.
cat >"$work/fakes/docker" <<'END'
#!/usr/bin/env bash
echo "$*" >>"$FAKE/calls"
case "$*" in
"compose version" | info) exit 0 ;;
*" up "* | *" start"*)
  perl -MIO::Socket::INET -e '
    my $s = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1", LocalPort => $ARGV[0], ReuseAddr => 1) or die $!;
    while (my $c = $s->accept) { sysread $c, my $b, 8; syswrite $c, "\x01\0\0\0\0\x07versionS\0\0\0\x05" . "3.9.9\0"; close $c }
  ' "$ANYQUEUE_PORT" </dev/null >/dev/null 2>&1 &
  echo $! >"$FAKE/pid"
  ;;
*" ps "*) kill -0 "$(cat "$FAKE/pid")" 2>/dev/null && echo 0123456789ab ;;
*" stop" | *" kill "* | *" down "*) kill -9 "$(cat "$FAKE/pid")" 2>/dev/null ;;
esac
exit 0
END
export FAKE="$work"
run scripts/servers up rabbitmq@fake
want 0 "version 3.9.9 (docker)"
run scripts/servers up rabbitmq@fake
want 0 "runs already"
[[ "$(grep -c ' up ' "$work/calls")" == 1 ]] || fail "the second up started it again"
run scripts/servers env rabbitmq@fake
want 0 "export ANYQUEUE_RABBITMQ_FAKE_URL=amqp://anyqueue:"
run scripts/servers kill rabbitmq@fake
run scripts/servers status rabbitmq@fake
want 0 "stopped"
run scripts/servers start rabbitmq@fake
want 0 ""
for c in freeze thaw "ctl rabbitmq@fake list_queues"; do
  # shellcheck disable=SC2086
  set -- $c
  run scripts/servers "$1" rabbitmq@fake "${@:3}"
  want 0 ""
done
for c in "kill -s KILL" "pause" "unpause" "exec -T rabbitmq rabbitmqctl list_queues"; do
  grep -q -- "--project-name anyqueue-rabbitmq-fake-.* $c\$" "$work/calls" || fail "docker was not asked to: $c"
done
run scripts/servers down rabbitmq@fake
want 0 "its data deleted"
grep -q -- 'down --volumes' "$work/calls" || fail "the volume is left"
[[ ! -e "$ANYQUEUE_SERVERS_STATE/rabbitmq-fake" ]] || fail "its folder is left"
printf '#!/bin/sh\nexit 1\n' >"$work/fakes/docker"

# The rest needs a server that is installed here. The 4.x line starts sooner.
real=""
if [[ "$(id -u)" == 0 ]] && compgen -G "$tools/debian-trixie-*-rabbitmq-server/.complete" >/dev/null; then
  real=rabbitmq4@own
elif compgen -G '/usr/lib/rabbitmq/lib/rabbitmq_server-*' >/dev/null; then
  real=rabbitmq@own
  [[ "$missing" == rabbitmq4 ]] || real=rabbitmq4@own
fi
if [[ -z "$real" ]]; then
  echo "note: no RabbitMQ is installed here; the script was tested without one"
else
  remembered() { sed -n "s/^$1=//p" "$ANYQUEUE_SERVERS_STATE/${real/@/-}/state"; }

  claim="two ups at the same time start one server"
  scripts/servers up "$real" >"$work/first" 2>&1 &
  run scripts/servers up "$real"
  wait $! || fail "$(cat "$work/first")"
  out="$out $(cat "$work/first")"
  want 0 "started at"
  want 0 "runs already"

  claim="a second up is quick"
  # Three, so that a whole second is not an accident of the clock.
  begin=$SECONDS
  for _ in 1 2 3; do run scripts/servers up "$real"; done
  want 0 "runs already"
  ((SECONDS - begin <= 3)) || fail "three took $((SECONDS - begin)) s"

  claim="what env printed is not taken for an address from elsewhere"
  run bash -c 'eval "$(scripts/servers env)"; scripts/servers freeze "$1" && scripts/servers thaw "$1" && scripts/servers up "$1"' bash "$real"
  want 0 "runs already"

  claim="after a kill -9 from outside, and with the process id given to another, up starts it again on its port with its data"
  pid="$(remembered s_pid)" port="$(remembered s_port)" password="$(remembered s_password)"
  touch "$ANYQUEUE_SERVERS_STATE/${real/@/-}/data/kept"
  kill -9 "$pid"
  sed -i.bak "s/^s_pid=.*/s_pid=$$/" "$ANYQUEUE_SERVERS_STATE/${real/@/-}/state"
  run scripts/servers status "$real"
  want 0 "stopped"
  run scripts/servers up "$real"
  want 0 "started at 127.0.0.1:$port"
  [[ "$(remembered s_password)" == "$password" && -e "$ANYQUEUE_SERVERS_STATE/${real/@/-}/data/kept" ]] || fail "its data is gone"

  claim="a server that dies while it starts prints the end of its log"
  scripts/servers stop "$real"
  mkdir -p "$work/aside"
  mv "$ANYQUEUE_SERVERS_STATE/${real/@/-}/data" "$work/aside"
  echo "no folder" >"$ANYQUEUE_SERVERS_STATE/${real/@/-}/data"
  run scripts/servers start "$real"
  want 1 "died while it started; the end of its log:"
  [[ "$(wc -l <<<"$out")" -gt 3 ]] || fail "no log: $out"

  claim="down leaves no process, no port and no data"
  run scripts/servers down "$real"
  want 0 "its data deleted"
  for n in 0 1 2 3; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$((port + n))") 2>/dev/null; then fail "something listens on $((port + n))"; fi
  done
  [[ ! -e "$ANYQUEUE_SERVERS_STATE/${real/@/-}" ]] || fail "its folder is left"
fi

((failures == 0)) && echo "servers: the script passes its tests"
