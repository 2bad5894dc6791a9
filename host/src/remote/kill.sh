# Ends run $1 of this lease, all of it: SIGTERM, and after $2 tenths of a second SIGKILL.
# Prints `dead` (no member of it is left that is not a zombie), `absent` (no such run) or `alive`.
cbx_record=.crabbox/runs/$1
cbx_grace=$2
cbx_tag=
[ ! -r /proc/self/environ ] || cbx_tag=CRABBOX_RUN_ID=$1
cbx_start() {
  if [ -r "/proc/$1/stat" ]; then
    IFS= read -r cbx_stat <"/proc/$1/stat"
    cbx_stat=${cbx_stat##*")"}
    set -- $cbx_stat
    shift 19
    echo "$1"
  else
    LC_ALL=C ps -o lstart= -p "$1"
  fi
}
# The members of the run: by group, and where there is /proc also by CRABBOX_RUN_ID in the environment.
cbx_members() {
  if [ -r /proc/self/stat ]; then
    for cbx_file in /proc/[0-9]*; do
      cbx_pid=${cbx_file#/proc/}
      [ "$cbx_pid" != $$ ] || continue
      { IFS= read -r cbx_stat <"$cbx_file/stat"; } 2>/dev/null || continue
      cbx_stat=${cbx_stat##*")"}
      set -- $cbx_stat
      case $1 in Z | X) continue ;; esac
      if [ "$3" = "$cbx_group" ] || grep -qs "$cbx_tag" "$cbx_file/environ" 2>/dev/null; then
        echo "$cbx_pid"
      fi
    done
  else
    ps -A -o pid=,pgid=,stat= | while read -r cbx_pid cbx_of cbx_state; do
      [ "$cbx_of" = "$cbx_group" ] || continue
      case $cbx_state in Z*) ;; *) echo "$cbx_pid" ;; esac
    done
  fi
}
cbx_group=none
cbx_found=
if [ -f "$cbx_record" ]; then
  cbx_found=1
  read -r cbx_group cbx_since <"$cbx_record"
  # A number that was given to another process since is not our group.
  [ "$cbx_group" = none ] || [ "$(cbx_start "$cbx_group" 2>/dev/null)" = "$cbx_since" ] || cbx_group=none
elif [ -z "$cbx_tag" ]; then
  echo absent
  exit 0
fi
cbx_tenths=0
cbx_signal=TERM
while cbx_left=$(cbx_members); [ -n "$cbx_left" ]; do
  cbx_found=1
  if [ "$cbx_tenths" = 0 ] || [ "$cbx_tenths" -ge "$cbx_grace" ]; then
    [ "$cbx_tenths" = 0 ] || cbx_signal=KILL
    [ "$cbx_group" = none ] || kill -s "$cbx_signal" -- "-$cbx_group" 2>/dev/null
    kill -s "$cbx_signal" $cbx_left 2>/dev/null
  fi
  cbx_tenths=$((cbx_tenths + 1))
  if [ "$cbx_tenths" -gt $((cbx_grace + 50)) ]; then
    echo alive
    exit 0
  fi
  sleep 0.1 2>/dev/null || { sleep 1; cbx_tenths=$((cbx_tenths + 9)); }
done
rm -f "$cbx_record"
[ -n "$cbx_found" ] && echo dead || echo absent
