# Notes who leads this process group and since when in .crabbox/runs/ID, for whoever has to end it.
# Before: cbx_run is the run's id; the directory is the lease's root. A leader that is not ours to signal is
# `none`. After: cbx_record is the file.
cbx_field() { shift "$1"; echo "$1"; }
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
if [ -L .crabbox ] || [ -L .crabbox/runs ]; then
  echo "$PWD/.crabbox is not as crabbox left it: a symbolic link is in its place" >&2
  exit 125
fi
[ -d .crabbox/runs ] || mkdir -p .crabbox/runs || exit 125
cbx_record=$PWD/.crabbox/runs/$cbx_run
printf '%s %s\n' "$cbx_group" "$cbx_start" >"$cbx_record.new" && mv "$cbx_record.new" "$cbx_record" || exit 125
