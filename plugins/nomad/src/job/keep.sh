# The task of a lease: makes the workspace's directory and stays. $1 is the directory, or nothing for one in the
# task's own; $2 is `shared` where the task sees the node's files and processes.
d=$1
[ -n "$d" ] || d=$NOMAD_TASK_DIR/crabbox
mkdir -p "$d" || exit 1
# At the end of a shared task nobody else ends what was started in it, or takes its files away.
end() {
  trap '' INT TERM
  kill "$s" 2>/dev/null
  if [ "$shared" = shared ] && [ -n "$NOMAD_ALLOC_ID" ]; then
    for round in 1 2 3; do
      for f in /proc/[0-9]*/environ; do
        p=$(echo "$f" | tr -cd 0-9)
        [ "$p" != $$ ] || continue
        if tr '\0' '\n' <"$f" 2>/dev/null | grep -qx "NOMAD_ALLOC_ID=$NOMAD_ALLOC_ID"; then
          kill -s KILL "$p" 2>/dev/null
        fi
      done
    done
    rm -rf "$d"
  fi
  exit 0
}
shared=$2
trap end INT TERM
while :; do
  sleep 3600 &
  s=$!
  wait "$s"
done
