# Every request that executes something on a lease has the same argv:
#     sh -c 'eval "$1"' crabbox LOADER
# What is to be done comes on standard input: a script up to the line `#crabbox-end`, then bytes for it.
#
# First the shell becomes the leader of a process group, by whatever this machine has: then everything
# that it starts can be found and ended. `.` as second argument says that this was tried.
if [ -r /proc/self/stat ]; then
  IFS= read -r cbx_stat </proc/self/stat
  set -- "$1" "${2-}" ${cbx_stat##*")"}
  cbx_group=$5
else
  cbx_group=$(ps -o pgid= -p $$)
  cbx_group=$((cbx_group))
fi
if [ "$cbx_group" != $$ ] && [ "$2" != . ]; then
  if command -v setsid >/dev/null 2>&1; then
    exec setsid sh -c 'eval "$1"' crabbox "$1" .
  elif command -v perl >/dev/null 2>&1; then
    exec perl -e 'setpgrp 0,0; exec @ARGV' sh -c 'eval "$1"' crabbox "$1" .
  elif command -v python3 >/dev/null 2>&1; then
    exec python3 -c 'import os,sys; os.setpgid(0,0); os.execvp(sys.argv[1],sys.argv[1:])' sh -c 'eval "$1"' crabbox "$1" .
  fi
fi
# `read` takes no byte beyond its line, so what follows the script is still there for it. Half a script could do
# anything, so it does nothing.
cbx_script=
while IFS= read -r cbx_line || exit 125; do
  [ "$cbx_line" = '#crabbox-end' ] && break
  cbx_script="$cbx_script$cbx_line
"
done
eval "$cbx_script"
