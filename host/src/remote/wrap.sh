# Runs "$@" in ws/ with nothing on standard input, and exits as it does.
# Before: cbx_run is the run's id; the directory is the lease's root; the environment is set.
#
# .crabbox/runs/ID says who leads the run's group and since when, from before the command starts until
# it has ended: whoever finds it can end the run. A leader that is not ours to signal is `none`.
cbx_field() { cbx_n=$1; shift "$cbx_n"; echo "$1"; }
if [ -r /proc/self/stat ]; then
  IFS= read -r cbx_stat <"/proc/$$/stat"
  cbx_stat=${cbx_stat##*")"}
  cbx_group=$(cbx_field 3 $cbx_stat)
  cbx_start=$(cbx_field 20 $cbx_stat)
else
  cbx_group=$(ps -o pgid= -p $$)
  cbx_group=$((cbx_group))
  cbx_start=$(LC_ALL=C ps -o lstart= -p $$)
fi
[ "$cbx_group" = $$ ] || cbx_group=none
# The wrapper stays until the command has ended, whatever is sent to the group.
trap : HUP INT TERM QUIT
mkdir -p .crabbox/runs ws || exit 125
cbx_record=$PWD/.crabbox/runs/$cbx_run
printf '%s %s\n' "$cbx_group" "$cbx_start" >"$cbx_record.new" && mv "$cbx_record.new" "$cbx_record" || exit 125
# When the process that started us is gone, nobody is left to end the run: it ends itself.
cbx_watch=
if [ "$cbx_group" != none ] && [ "$PPID" -gt 1 ] && kill -0 "$PPID" 2>/dev/null; then
  (
    trap '' HUP INT
    trap 'kill $! 2>/dev/null; exit' TERM
    while kill -0 "$PPID" 2>/dev/null; do sleep 1 & wait $!; done
    trap '' TERM
    kill -s TERM -- "-$$"
    sleep 1
    rm -f "$cbx_record"
    kill -s KILL -- "-$$"
  ) </dev/null >/dev/null 2>&1 &
  cbx_watch=$!
fi
# Some shells report a killed child on standard error, which is the command's.
exec 3>&2 2>/dev/null
cbx_found=
(
  cd ws || exit 125
  case $1 in
    */*) [ ! -e "$1" ] || cbx_found=1 ;;
    *)
      set -f
      IFS=:
      for cbx_dir in $PATH; do
        if [ -f "${cbx_dir:-.}/$1" ] && [ -x "${cbx_dir:-.}/$1" ]; then cbx_found=1; break; fi
      done
      ;;
  esac
  [ -n "$cbx_found" ] || { printf '%s: command not found\n' "$1" >&2; exit 127; }
  exec "$@"
) </dev/null 2>&3 3>&-
cbx_code=$?
[ -z "$cbx_watch" ] || kill -s TERM "$cbx_watch" 2>/dev/null
rm -f "$cbx_record"
exit "$cbx_code"
