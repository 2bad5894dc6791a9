# Removes what copies have staged that were killed: each has noted where in .crabbox/cp/RUN.at, before it began.
# The directory is the lease's root. Before: look.sh.
if [ -L .crabbox ] || [ -L .crabbox/cp ]; then
  echo "$PWD/.crabbox is not as crabbox left it: a symbolic link is in its place" >&2
  exit 125
fi
for cbx_old in .crabbox/cp/run_*.at; do
  [ -f "$cbx_old" ] || continue
  (
    cbx_run=${cbx_old#.crabbox/cp/} cbx_group=none cbx_own=$$
    cbx_run=${cbx_run%.at}
    cbx_record=.crabbox/runs/$cbx_run
    if [ -f "$cbx_record" ]; then
      read -r cbx_group cbx_since <"$cbx_record"
      # Of such a run only its environment tells.
      [ "$cbx_group" != none ] || [ -r /proc/self/environ ] || exit
    fi
    cbx_look
    [ -z "$cbx_left" ] || exit
    cbx_at=$(cat "$cbx_old" && echo .) && rm -rf "${cbx_at%.}/.crabbox-cp-$cbx_run" &&
      rm -f "$cbx_record" ".crabbox/cp/$cbx_run" "$cbx_old"
  )
done
