# The task of a lease: makes the workspace's directory and stays. $1 is the directory, or nothing for one in the
# task's own; $2 is `shared` where the task sees the node's files and processes. There is no dollar sign with a
# brace in it: Nomad would take that for a variable of its own.
d=$1
shared=$2
s=
[ -n "$d" ] || d=$NOMAD_TASK_DIR/crabbox
# Ends everything that was started in this allocation, whatever group or session it is in.
sweep() {
  n=0
  while [ "$n" -lt 20 ]; do
    n=$((n + 1))
    left=
    for f in $(grep -ls "NOMAD_ALLOC_ID=$NOMAD_ALLOC_ID" /proc/[0-9]*/environ); do
      IFS=/
      set -- $f
      unset IFS
      if [ "$3" != $$ ] && kill -s KILL "$3" 2>/dev/null; then left=1; fi
    done
    [ -n "$left" ] || return
    sleep 0.1
  done
}
# At the end of a shared task nobody else ends what was executed in it, or takes its files away.
end() {
  trap '' INT TERM
  [ -z "$s" ] || kill "$s" 2>/dev/null
  if [ "$shared" = shared ]; then
    [ -z "$NOMAD_ALLOC_ID" ] || sweep
    rm -rf "$d"
  fi
  exit 0
}
trap end INT TERM
# Where this fails the first command fails as well, and says why: nobody reads what is said here.
mkdir -p "$d" || :
while :; do
  sleep 3600 &
  s=$!
  wait "$s"
done
