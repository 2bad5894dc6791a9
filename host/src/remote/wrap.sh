# Runs "$@" in ws/ with nothing on standard input, and exits as it does.
# Before: record.sh; the environment is set; cbx_silence is empty, or what lifeline.sh says; cbx_receipt is empty, or
# says that word is to be left of an exit with 255.
#
# The record is there before the command starts and until it has ended: whoever finds it can end the run.
[ -d ws ] || mkdir -p ws || exit 125
# When the process that started us is gone, nobody is left to end the run: it ends itself. What tells that the
# run has ended in the usual way is the record: a signal that comes while a shell starts can be lost.
cbx_watch=
if [ -z "$cbx_silence" ] && [ "$cbx_group" != none ] && [ "$PPID" -gt 1 ] && kill -0 "$PPID" 2>/dev/null; then
  (
    trap '' HUP INT
    trap 'kill $! 2>/dev/null; exit' TERM
    while [ -e "$cbx_record" ] && kill -0 "$PPID" 2>/dev/null; do sleep 1 & wait $!; done
    [ -e "$cbx_record" ] || exit
    trap '' TERM
    kill -s TERM -- "-$$"
    sleep 1
    rm -f "$cbx_record"
    kill -s KILL -- "-$$"
  ) </dev/null >/dev/null 2>&1 &
  cbx_watch=$!
fi
# The wrapper stays until the command has ended, whatever is sent to the group.
trap : HUP INT TERM QUIT
# Some shells report a killed child on standard error, which is the command's.
exec 3>&2 2>/dev/null
[ -z "$cbx_silence" ] || cbx_begin
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
[ -z "$cbx_silence" ] || cbx_over
# Where the way back says 255 of itself, too, this says that it was the command.
[ -z "$cbx_receipt" ] || [ "$cbx_code" != 255 ] || : >"$cbx_record.255"
rm -f "$cbx_record"
[ -z "$cbx_watch" ] || kill -s TERM "$cbx_watch" 2>/dev/null
exit "$cbx_code"
