# Writes what is at cbx_path to standard output. The directory is the lease's root, and a path that is not absolute
# is below ws/ in it.
#
# Before: record.sh; cbx_how     whole (an archive whose members begin with ./cbx_name), inside (an archive of what
#                                is in the directory), bytes (a file as it is)
#         cbx_parent, cbx_name   the path taken apart
#
# Exits with 0 when everything has been sent, and else with the code of tar, or 1 and one line that says why.
LC_ALL=C
# Where tar would add members of its own for what only macOS has.
COPYFILE_DISABLE=1
export LC_ALL COPYFILE_DISABLE
trap 'rm -f "$cbx_record"' EXIT
trap 'exit 143' HUP INT TERM
cbx_fail() {
  printf '%s\n' "$1" >&2
  exit 1
}
cbx_shown=${cbx_path#./}
case $cbx_path in
  /*) ;;
  *) [ -d ws ] && cd ws || cbx_fail "there is no workspace on the lease yet" ;;
esac
case $cbx_how in
  bytes)
    [ -e "$cbx_path" ] || cbx_fail "no such file on the lease: $cbx_shown"
    [ ! -d "$cbx_path" ] || cbx_fail "a directory does not go to standard output: $cbx_shown"
    cat <"$cbx_path"
    exit
    ;;
  inside)
    [ -d "$cbx_path" ] || cbx_fail "no such directory on the lease: $cbx_shown"
    set -- -C "$cbx_path" -cf - .
    ;;
  whole)
    [ -e "$cbx_path" ] || [ -L "$cbx_path" ] || cbx_fail "no such file on the lease: $cbx_shown"
    set -- -C "$cbx_parent" -cf - "./$cbx_name"
    ;;
esac
command -v tar >/dev/null 2>&1 || cbx_fail "the lease lacks what a copy needs: tar"
# It has a form of its own for files with holes.
case $(tar --version 2>/dev/null) in *bsdtar*) set -- --format gnutar "$@" ;; esac
tar "$@"
