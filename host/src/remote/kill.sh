# Ends run $1 of this lease, all of it: SIGTERM, and after $2 tenths of a second SIGKILL.
# Prints `dead` (no member of it is left that is not a zombie), `absent` (no such run) or `alive`. Before: look.sh.
cbx_run=$1
cbx_record=.crabbox/runs/$1
cbx_grace=$2
cbx_own=$$
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
cbx_group=none
cbx_found=
if [ -f "$cbx_record" ]; then
  cbx_found=1
  read -r cbx_group cbx_since <"$cbx_record"
  # A number that was given to another process since is not our group.
  [ "$cbx_group" = none ] || [ "$(cbx_start "$cbx_group" 2>/dev/null)" = "$cbx_since" ] || cbx_group=none
elif [ ! -r /proc/self/environ ]; then
  echo absent
  exit 0
fi
cbx_tenths=0
cbx_signal=TERM
while cbx_look; [ -n "$cbx_left" ]; do
  cbx_found=1
  if [ "$cbx_tenths" = 0 ] || [ "$cbx_tenths" -ge "$cbx_grace" ]; then
    [ "$cbx_tenths" = 0 ] || cbx_signal=KILL
    [ "$cbx_group" = none ] || kill -s "$cbx_signal" -- "-$cbx_group" 2>/dev/null
    kill -s "$cbx_signal" $cbx_left 2>/dev/null
  fi
  if [ "$cbx_tenths" -gt $((cbx_grace + 50)) ]; then
    echo alive
    exit 0
  fi
  cbx_pause
done
rm -f "$cbx_record" "$cbx_record.255"
[ -n "$cbx_found" ] && echo dead || echo absent
