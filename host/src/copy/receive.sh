# Places the members of the archive that comes on standard input. The directory is the lease's root, and a path that
# is not absolute is below ws/ in it.
#
# Before: record.sh, look.sh and sweep.sh
#         cbx_to                where to: a directory that is there, or the name of what is copied
#         cbx_parent, cbx_name  that, taken apart
#         cbx_must              not empty when it has to be a directory that is there
#         cbx_file              the archive, in the lease's root, when it is not on standard input
#
# The members are below 0, 1 ..., a number for each thing that is copied; the last is `complete`. They are staged
# beside their place, on its file system. After that come `cbx_check N NAME` for each, which changes nothing,
# `cbx_place N NAME` for each, and `cbx_mode N NAME MODE PATH`. Each file comes into its place by a rename. What stands
# there and is not in the archive stays.
LC_ALL=C
export LC_ALL
cbx_stage=
cbx_end() {
  cd / && { [ -z "$cbx_stage" ] || { rm -rf "$cbx_stage" && rm -f "$cbx_note"; }; }
  rm -f "$cbx_record"
  [ -z "$cbx_file" ] || rm -f "$cbx_file"
}
trap cbx_end EXIT
trap 'exit 143' HUP INT TERM
cbx_fail() {
  printf '%s\n' "$1" >&2
  exit 1
}
[ -z "$cbx_file" ] || cbx_file=$PWD/$cbx_file
[ -d .crabbox/cp ] || mkdir -p .crabbox/cp || exit
cbx_note=$PWD/.crabbox/cp/$cbx_run.at
# What a host that died has put here and never asked for.
find .crabbox/cp -type f ! -name '*.at' -mtime +1 -exec rm -f {} +
[ -d ws ] || mkdir -p ws || exit
cd ws || exit
cbx_lacks=
for cbx_tool in tar find mv rm; do
  command -v "$cbx_tool" >/dev/null 2>&1 || cbx_lacks="$cbx_lacks $cbx_tool"
done
[ -z "$cbx_lacks" ] || cbx_fail "the lease lacks what a copy needs:$cbx_lacks"
# The directory that the copies go into, and what the only one is called there, if not by its own name.
cbx_dir=$cbx_to cbx_as=
if [ ! -d "$cbx_to" ]; then
  [ -z "$cbx_must" ] || cbx_fail "no such directory on the lease: ${cbx_to#./}"
  cbx_dir=$cbx_parent cbx_as=$cbx_name
  [ -d "$cbx_dir" ] || cbx_fail "no such directory on the lease: ${cbx_dir#./}"
fi
case $cbx_dir in /*) ;; *) cbx_dir=$PWD/$cbx_dir ;; esac
printf %s "$cbx_dir" >"$cbx_note" || exit
mkdir -m 700 "$cbx_dir/.crabbox-cp-$cbx_run" || {
  rm -f "$cbx_note"
  cbx_fail "cannot write on the lease to ${cbx_dir#"$PWD/./"}"
}
cbx_stage=$cbx_dir/.crabbox-cp-$cbx_run
[ -z "$cbx_file" ] || exec <"$cbx_file" || cbx_fail "what was put on the lease is gone"
# Everything gets the lease's own time: what was built from the old files is older then.
tar -xpmof - -C "$cbx_stage" || cbx_fail "cannot unpack on the lease"
[ -f "$cbx_stage/complete" ] || cbx_fail "what came is cut short"
exec </dev/null
# Sets cbx_from to a directory in the stage and cbx_into to one outside, such that all that is in the one goes into
# the other.
cbx_pair() {
  cbx_into=$cbx_dir
  cbx_called=${cbx_as:-$2}
  if [ -z "$cbx_called" ]; then
    # What is in a directory, or in standard input.
    cbx_from=$cbx_stage/$1
    [ -d "$cbx_from" ] || cbx_fail "a directory is in the place of the file: ${cbx_to#./}"
  else
    cbx_from=$cbx_stage/as-$1
    [ -d "$cbx_from" ] || { mkdir "$cbx_from" && mv "$cbx_stage/$1" "$cbx_from/$cbx_called" || exit; }
  fi
}
cbx_check() {
  cbx_pair "$@"
  (
    cd "$cbx_from" || exit
    # Nothing goes through a link, and neither a file nor a directory takes the place of the other. A link is
    # replaced, unless it leads to a device.
    find . ! -name . -type d -exec sh -c 'for p; do
        if [ -L "$0/$p" ] || { [ -e "$0/$p" ] && [ ! -d "$0/$p" ]; }; then
          printf "%s\n" "on the lease, this is not a directory as ours is: ${p#./}" >&2
          exit 1
        fi
      done' "$cbx_into" {} + &&
    find . ! -type d -exec sh -c 'for p; do
        if [ -f "$0/$p" ] || [ ! -e "$0/$p" ] || { [ -L "$0/$p" ] && [ -d "$0/$p" ]; }; then :; else
          printf "%s\n" "on the lease, this is not a file as ours is: ${p#./}" >&2
          exit 1
        fi
      done' "$cbx_into" {} +
  ) || exit 1
}
cbx_place() {
  cbx_pair "$@"
  cbx_merge "$cbx_from" "$cbx_into" || cbx_fail "cannot place everything on the lease; some of it may be there"
}
# All that is in directory $1 goes into directory $2, by renames.
cbx_merge() {
  (
    cd "$1" && find . ! -name . -prune ! -type d -exec sh -c 'exec mv -f -- "$@" "$0/"' "$2" {} +
  ) || return
  for cbx_each in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    if [ -L "$cbx_each" ] || [ ! -d "$cbx_each" ]; then continue; fi
    if [ -d "$2/${cbx_each##*/}" ]; then
      cbx_merge "$cbx_each" "$2/${cbx_each##*/}" || return
    else
      mv -f -- "$cbx_each" "$2/" || return
    fi
  done
}
# A directory that nobody may write to is a directory that nothing can be moved into or out of: until now its owner
# could.
cbx_mode() {
  cbx_pair "$1" "$2"
  chmod "$3" "$cbx_into/${cbx_called:+$cbx_called/}$4"
}
