# Makes ws/ the tree whose bundle comes on standard input. The directory is the lease's root.
#
# Everything is staged beside the workspace. One rename commits; from there an idempotent roll-forward
# leads to the new tree, now or in the next sync. Before the rename the old tree is whole. What was never
# managed is left alone. So it is with cbx_how=update; with `add` what is gone here stays there, too, and with
# `replace` everything goes.
cbx_sync=$PWD/.crabbox/sync
cbx_ws=$PWD/ws
cbx_fail() { echo "crabbox: $1" >&2; exit 1; }
for cbx_tool in tar find xargs; do
  command -v $cbx_tool >/dev/null 2>&1 || cbx_fail "this lease has no $cbx_tool, which sync needs"
done
umask 022
mkdir -p "$cbx_sync" && cd "$cbx_sync" || cbx_fail "cannot make $cbx_sync"
cbx_forward() {
  if [ -d redo/files ]; then
    [ ! -L "$cbx_ws" ] || rm -f "$cbx_ws" || return
    if [ -e redo/replace ] && [ ! -e redo/old ] && [ -e "$cbx_ws" ]; then
      mv "$cbx_ws" redo/old || return
    fi
    if [ ! -d "$cbx_ws" ]; then
      mv redo/files "$cbx_ws" || return
    else
      cbx_merge || return
      mv redo/files redo/done || return
    fi
  fi
  mv redo/managed managed || [ ! -e redo/managed ] || return
  rm -rf redo
}
cbx_merge() {
  # Files that were managed and are not any more, with the directories that they leave empty. Never
  # through a symbolic link, and never what became a directory.
  [ ! -f managed ] || [ -e redo/add ] || xargs -0 sh -c '
    real() { case $1 in */*) real "${1%/*}" && [ -d "${1%/*}" ] && [ ! -L "${1%/*}" ] ;; esac; }
    new=$0; cd "$1" || exit 1; shift
    for p; do
      if [ -e "$new/$p" ] || [ -L "$new/$p" ] || ! real "./$p"; then continue; fi
      if [ -d "$p" ] && [ ! -L "$p" ]; then continue; fi
      rm -f -- "$p" || exit 255
      while d=${p%/*}; [ "$d" != "$p" ] && rmdir -- "$d" 2>/dev/null; do p=$d; done
    done' "$cbx_sync/redo/files" "$cbx_ws" <managed || return
  # What stands where a directory must be, parents first, and directories that stand where a file must be.
  ( cd redo/files &&
    find . -type d -exec sh -c 'cd "$0" || exit 1
      for d; do if [ -L "$d" ] || { [ -e "$d" ] && [ ! -d "$d" ]; }; then rm -f -- "$d" || exit 1; fi; done' "$cbx_ws" {} + &&
    find . ! -type d -exec sh -c 'cd "$0" || exit 1
      for p; do if [ -d "$p" ] && [ ! -L "$p" ]; then rm -rf -- "$p" || exit 1; fi; done' "$cbx_ws" {} + ) || return
  cp -RPlf redo/files/. "$cbx_ws/"
}
[ ! -d redo ] || cbx_forward || cbx_fail "cannot finish the last sync"
{ [ ! -e stage ] || rm -rf stage; } && mkdir stage || cbx_fail "cannot make $cbx_sync/stage"
tar -xpf - -C stage || { rm -rf stage; cbx_fail "cannot unpack the bundle"; }
[ -f stage/complete ] || { rm -rf stage; cbx_fail "the bundle is cut short"; }
[ -d stage/files ] || mkdir stage/files
if [ ! -e "$cbx_ws" ] && [ ! -L "$cbx_ws" ]; then
  # An empty lease: there is nothing to keep whole. A list of what is not there yet does no harm.
  mv stage/managed managed && mv stage/files "$cbx_ws" && rm -rf stage || cbx_fail "cannot place the files"
  echo applied
  exit 0
fi
: >"stage/$cbx_how"
mv stage redo || cbx_fail "cannot commit the sync"
cbx_forward || cbx_fail "cannot place the files; the next sync goes on from here"
echo applied
