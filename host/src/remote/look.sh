# Sets cbx_left to what is alive of run cbx_run, but for this shell and for cbx_own with its children: the members of
# cbx_group, and where there is /proc also what has CRABBOX_RUN_ID in its environment.
cbx_look() {
  cbx_left=
  if [ -r /proc/self/stat ]; then
    for cbx_file in $(
      grep -ls ") [^XZ] [0-9]* $cbx_group " /proc/[0-9]*/stat
      grep -ls "CRABBOX_RUN_ID=$cbx_run" /proc/[0-9]*/environ
    ); do
      cbx_file=${cbx_file%/*}
      { IFS= read -r cbx_stat <"$cbx_file/stat"; } 2>/dev/null || continue
      set -- ${cbx_stat##*")"}
      cbx_see "${cbx_file#/proc/}" "$2" "$1"
    done
  else
    cbx_list=$(ps -A -o pid=,ppid=,pgid=,stat=)
    while read -r cbx_pid cbx_parent cbx_of cbx_state; do
      [ "$cbx_of" != "$cbx_group" ] || cbx_see "$cbx_pid" "$cbx_parent" "$cbx_state"
    done <<END
$cbx_list
END
  fi
}
# A process by its number, its parent and its state.
cbx_see() {
  case " $$ $cbx_own $cbx_left " in *" $1 "*) return ;; esac
  case " $cbx_own " in *" $2 "*) return ;; esac
  case $3 in Z* | X*) ;; *) cbx_left="$cbx_left $1" ;; esac
}
# To look takes long where there is much to do: it is done often only in the first second.
cbx_pause() {
  [ "$cbx_tenths" -lt 10 ] && sleep 0.1 2>/dev/null && cbx_tenths=$((cbx_tenths + 1)) && return
  sleep 1
  cbx_tenths=$((cbx_tenths + 10))
}
