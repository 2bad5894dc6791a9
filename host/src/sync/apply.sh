# Makes ws/ the tree whose bundle comes on standard input, or says why not. The directory is the lease's root.
#
# Before: cbx_how    check (change nothing), finish (only what was begun), update, add (what is gone here stays
#                    there), replace (everything goes, also what was never managed)
#         cbx_base   the marker of the tree that the bundle is a delta to; `-` when it is a whole tree
#         cbx_next   the marker of the new tree; `-` when nobody will ask for it
#         cbx_alone  not empty when nothing else runs on the lease
#         cbx_zip    not empty when the bundle is compressed
#         cbx_file   the bundle's name in .crabbox/sync, when it is not on standard input
#
# The first line that it prints is the answer:
#         clean          the lease has the tree cbx_base, every path as it was left
#         applied        the lease has the new tree
#         base MARKER    it has another tree, or `none` that could be told; nothing was touched
#         dirty          the paths that follow, one a line, are not as they were left; nothing was touched
#         many           so are too many to name
#         pending        an earlier sync has to be finished, alone
#         plain          there is no gzip here
#         lacks TOOL...  sync needs these tools, and they are not here
#
# Everything is staged beside the workspace. One rename commits, from `stage` to `redo`; from there an
# idempotent roll-forward leads to the new tree, now or in the next sync. Before the rename the old tree is
# whole. What was never managed is left alone.
#
# `managed` and `dirs` are the lists (a NUL after each) of the tree that is there, `index` says what stat saw of
# its files when they had been placed, and `id` is its marker: written last, it vouches for the rest.
LC_ALL=C
TZ=UTC0
export LC_ALL TZ
umask 022
cbx_ws=$PWD/ws
trap 'rm -f "$cbx_record" ${cbx_file:+"$cbx_file"}' EXIT
cbx_fail() {
  printf '%s\n' "$1" >&2
  exit 1
}
cbx_answer() {
  printf '%s\n' "$1"
  exit 0
}
[ ! -L .crabbox/sync ] || cbx_fail "$PWD/.crabbox/sync is a symbolic link"
[ -d .crabbox/sync ] || mkdir .crabbox/sync || cbx_fail "cannot make $PWD/.crabbox/sync"
cd .crabbox/sync || cbx_fail "cannot enter $PWD/.crabbox/sync"
cbx_tools='tar find xargs cp mv rm'
[ "$cbx_next$cbx_base" = -- ] || cbx_tools="$cbx_tools stat cmp sort uniq sed"
cbx_lacks=
for cbx_tool in $cbx_tools; do
  command -v "$cbx_tool" >/dev/null 2>&1 || cbx_lacks="$cbx_lacks $cbx_tool"
done
[ -z "$cbx_lacks" ] || cbx_answer "lacks$cbx_lacks"
# Size, mode, inode, and the moment of the last change in nanoseconds: GNU and busybox, or BSD.
cbx_flag=-c cbx_format='%s %f %i %z /%n'
if [ "$cbx_next$cbx_base" != -- ] || [ -d redo ]; then
  stat -c %i . >/dev/null 2>&1 || { cbx_flag=-f cbx_format='%z %Xp %i %Fc /%N'; }
fi
cbx_now() (
  cd "$cbx_ws" && xargs -0 stat "$cbx_flag" "$cbx_format" --
) <managed 2>/dev/null
# The directories of the tree that are none now.
cbx_strays() {
  xargs -0 sh -c 'line="
"
    cd "$0" || exit
    for d; do
      if [ -L "$d" ] || [ ! -d "$d" ]; then printf "%s/\n" "${d%%"$line"*}"; fi
    done' "$cbx_ws" <dirs
}
cbx_is_clean() {
  cbx_now | cmp -s - index && [ -z "$(cbx_strays)" ]
}
# Of a path with a newline in its name, the first line.
cbx_dirty() {
  {
    cbx_now | sort - index | uniq -u | sed -n 's,^[0-9]* [0-9a-f]* [0-9]* [^/]*/,,p'
    cbx_strays
  } | sort -u
}
cbx_say_dirty() {
  [ -n "$1" ] && [ "${#1}" -lt 500000 ] || cbx_answer many
  printf 'dirty\n%s\n' "$1"
  exit 0
}
# The index is taken when the clock has moved on, so that any later change shows in it.
cbx_mark() {
  [ ! -e id ] || rm -f id || return
  [ -f "$1/id" ] || return 0
  case $(stat "$cbx_flag" "$cbx_format" "$1/id") in
    *.000000000*) sleep 1 ;;
    *) sleep 0.02 2>/dev/null || sleep 1 ;;
  esac
  cbx_now >"$1/index"
  mv "$1/index" index || return
  read -r cbx_id <"$1/id" && printf '%s\n' "$cbx_id" >"$1/new" && mv "$1/new" id
}
cbx_forward() {
  if [ -d redo/files ]; then
    if [ -L "$cbx_ws" ] || { [ -e "$cbx_ws" ] && [ ! -d "$cbx_ws" ]; }; then
      rm -f "$cbx_ws" || return
    fi
    if [ -e redo/replace ] && [ ! -e redo/old ] && [ -e "$cbx_ws" ]; then
      mv "$cbx_ws" redo/old || return
    fi
    if [ ! -d "$cbx_ws" ]; then
      mv redo/files "$cbx_ws" || return
    else
      cbx_merge && mv redo/files redo/placed || return
    fi
  fi
  for cbx_list in managed dirs; do
    [ ! -e "redo/$cbx_list" ] || mv "redo/$cbx_list" "$cbx_list" || return
  done
  # Its files are links to those in the workspace, and removing them shows in the index.
  rm -rf redo/placed && cbx_mark redo && rm -rf redo
}
cbx_merge() {
  # What was managed and is not any more, with the directories that this empties. Never through a symbolic
  # link, and never what became a directory.
  cbx_list=managed
  [ ! -e redo/remove ] || cbx_list=redo/remove
  if [ -s "$cbx_list" ] && [ ! -e redo/add ]; then
    xargs -0 sh -c '
      real() { case $1 in */*) real "${1%/*}" && [ -d "${1%/*}" ] && [ ! -L "${1%/*}" ] ;; esac; }
      new=$0; cd "$1" || exit 1; shift
      for p; do
        if [ -e "$new/$p" ] || [ -L "$new/$p" ] || ! real "./$p"; then continue; fi
        if [ -d "$p" ] && [ ! -L "$p" ]; then continue; fi
        rm -f -- "$p" || exit 255
        while d=${p%/*}; [ "$d" != "$p" ] && rmdir -- "$d" 2>/dev/null; do p=$d; done
      done' "$PWD/redo/files" "$cbx_ws" <"$cbx_list" || return
  fi
  # What stands where a directory must be, parents first.
  ( cd redo/files &&
    find . -type d -exec sh -c 'cd "$0" || exit 1
      for d; do if [ -L "$d" ] || { [ -e "$d" ] && [ ! -d "$d" ]; }; then rm -f -- "$d" || exit 1; fi; done' "$cbx_ws" {} + ) || return
  cbx_clear && cp -RPl redo/files/. "$cbx_ws/" 2>/dev/null && return
  # A file system without hard links: copies, in the place of what is there and not through it.
  cbx_clear && cp -RPp redo/files/. "$cbx_ws/"
}
# Removes what stands where files are to be. Over a file that is there cp makes its link beside, under a name of its
# own (CuXXXXXX), and renames it: a kill in between would leave that for ever.
cbx_clear() {
  ( cd redo/files && find . ! -type d -exec sh -c 'cd "$0" && rm -rf -- "$@"' "$cbx_ws" {} + )
}
if [ -d redo ]; then
  [ -n "$cbx_alone" ] || cbx_answer pending
  cbx_forward || cbx_fail 'cannot finish the last sync; the next one tries again'
fi
[ "$cbx_how" != finish ] || cbx_answer applied
if [ "$cbx_base" != - ]; then
  cbx_have=none
  if [ -f id ] && [ -f index ] && [ -f managed ] && [ -f dirs ] && [ -d "$cbx_ws" ] && [ ! -L "$cbx_ws" ]; then
    read -r cbx_have <id
  fi
  [ "$cbx_base" = "$cbx_have" ] || cbx_answer "base $cbx_have"
fi
if [ "$cbx_how" = check ]; then
  ! cbx_is_clean || cbx_answer clean
  cbx_say_dirty "$(cbx_dirty)"
fi
for cbx_old in *.bundle; do
  [ "$cbx_old" = "$cbx_file" ] || [ ! -e "$cbx_old" ] || rm -f "$cbx_old"
done
{ [ ! -e stage ] || rm -rf stage; } && mkdir stage || cbx_fail "cannot make $PWD/stage"
[ ! -d "$cbx_ws" ] || rmdir "$cbx_ws" 2>/dev/null
# In a new tree files keep our times. In one that has been used they get this machine's, so that what was
# built from the old ones is older.
cbx_tar=-xpof
if [ -e "$cbx_ws" ] || [ -L "$cbx_ws" ]; then cbx_tar=-xpmof; fi
[ -z "$cbx_file" ] || exec <"$cbx_file" || cbx_fail "cannot read the bundle $cbx_file"
if [ -n "$cbx_zip" ]; then
  command -v gzip >/dev/null 2>&1 || { rm -rf stage; cbx_answer plain; }
  gzip -dc | tar "$cbx_tar" - -C stage
else
  tar "$cbx_tar" - -C stage
fi || { rm -rf stage; cbx_fail 'cannot unpack the bundle'; }
[ -f stage/complete ] || { rm -rf stage; cbx_fail 'the bundle is cut short'; }
[ -d stage/files ] || mkdir stage/files
if [ "$cbx_base" != - ] && ! cbx_is_clean; then
  cbx_list=$(cbx_dirty | sort - stage/cover stage/cover | uniq -u)
  [ -z "$cbx_list" ] || { rm -rf stage; cbx_say_dirty "$cbx_list"; }
fi
[ "$cbx_next" = - ] || printf '%s\n' "$cbx_next" >stage/id || cbx_fail 'cannot write the marker'
if [ "$cbx_tar" = -xpof ]; then
  # There is nothing to keep whole. A list of what is not there yet does no harm.
  if [ "$cbx_next" != - ]; then
    # What is from the future here would be built again and again.
    find stage/files -type f -newer stage/id -exec touch {} +
  fi
  { [ ! -e id ] || rm -f id; } && mv stage/managed stage/dirs . && mv stage/files "$cbx_ws" && cbx_mark stage ||
    cbx_fail 'cannot place the files'
  rm -rf stage
  cbx_answer applied
fi
: >"stage/$cbx_how"
mv stage redo || cbx_fail 'cannot commit the sync'
cbx_forward || cbx_fail 'cannot place the files; the next sync goes on from here'
cbx_answer applied
