# What is done on the machine: POSIX sh, on standard input. Before it stand `word verb root broad marker id slug name`.
#
# ROOT/ID is a lease. It comes and goes by one rename each: before it is whole it is ROOT/.acquiring-ID, and once it
# is given up ROOT/.releasing-ID. Every line of the answer begins with the word, and the last one is `end`. All of it
# is in functions that the last line calls, so that nothing is done of a script that did not arrive whole.

LC_ALL=C
export LC_ALL
umask 077

say() { printf '%s %s\n' "$word" "$*"; }

# Ends with an error: its kind, and why. While `acquire` has made nothing yet, it says so.
fail() {
    say error "$@"
    [ -z "$untouched" ] || say untouched yes
    say end
    exit 0
}

# Runs a command, whose error ends all.
try() {
    said=$("$@" 2>&1) || fail provider "cannot $1 in \`$root\`: $(printf %s "$said" | tr '\n' ' ')"
}

# Makes the root absolute.
find_root() {
    case $root in
    '~/'*)
        case ${HOME-} in
        /*) root=${HOME%/}/${root#??} ;;
        *) fail provider "there is no home directory on the machine" ;;
        esac
        ;;
    esac
}

# Whether the directory that we are in may hold leases.
check_root() {
    root=$(pwd -P)
    for one in $broad; do
        [ "$root" != "$one" ] || fail configInvalid "\`$root\` is a directory of the system"
    done
    home=$(cd -P "${HOME:-/}" 2>/dev/null && pwd -P)
    [ "$root" != "$home" ] || fail configInvalid "\`$root\` is the home directory"
    [ -z "$(find . -prune -perm -0002 2>/dev/null)" ] || fail configInvalid "everybody can write to \`$root\`"
}

# Goes to the root; without one, there is proof that nothing is in it, or an error.
enter() {
    if [ -d "$root" ]; then
        cd -P "$root" 2>/dev/null || fail auth "\`$root\` cannot be entered"
        [ -r . ] || fail auth "\`$root\` cannot be read"
        check_root
        return 0
    fi
    above=$root
    while ! [ -d "$above" ]; do
        if [ -e "$above" ] || [ -L "$above" ]; then
            fail unavailable "\`$above\` is no directory, or leads nowhere"
        fi
        above=${above%/*}
        above=${above:-/}
    done
    [ -x "$above" ] || fail auth "\`$above\` cannot be entered"
    return 1
}

foreign() { fail conflict "\`$root/$1\` is not the directory of this lease: $2"; }

# Whether the directory $1 is the lease's.
is_ours() {
    ! [ -L "$1/$marker" ] && [ -f "$1/$marker" ] || foreign "$1" "it has no \`$marker\`"
    line=
    IFS= read -r line <"$1/$marker"
    [ "$line" = "lease $id" ] || foreign "$1" "its \`$marker\` names another"
}

# Sets `found` to what there is of the lease.
look() {
    found=absent
    for one in ".acquiring-$id" ".releasing-$id" "$id"; do
        if [ -L "$one" ]; then
            foreign "$one" "it is a link"
        elif [ -d "$one" ]; then
            case $one in
            .acquiring-*) found=acquiring ;;
            .releasing-*) found=releasing ;;
            *) is_ours "$one" && found=lease ;;
            esac
        elif [ -e "$one" ]; then
            foreign "$one" "it is no directory"
        fi
    done
}

acquire() {
    said=$(mkdir -p "$root" 2>&1) || fail auth "cannot make \`$root\`: $(printf %s "$said" | tr '\n' ' ')"
    enter
    look
    case $found in
    lease) return ;;
    releasing)
        untouched=
        fail conflict "the lease is being released"
        ;;
    absent) try mkdir ".acquiring-$id" ;;
    esac
    untouched=
    try chmod 700 ".acquiring-$id"
    created=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    said=$( (printf 'lease %s\nslug %s\nname %s\ncreated %s\n' "$id" "$slug" "$name" "$created" \
        >".acquiring-$id/$marker") 2>&1) || fail capacity "cannot write in \`$root\`: $(printf %s "$said" | tr '\n' ' ')"
    try mv ".acquiring-$id" "$id"
    look
}

# Removes a directory of ours, with those in it that are read-only. Links in it are removed, never followed.
remove() {
    for attempt in 1 2 3 4 5; do
        find "$1" -type d ! -perm -0700 -exec chmod u+rwx {} \; 2>/dev/null
        said=$(rm -rf "$1" 2>&1) && ! [ -e "$1" ] && return
        sleep 1
    done
    fail provider "cannot remove \`$root/$1\`: $(printf %s "$said" | tr '\n' ' ' | cut -c 1-300)"
}

release() {
    enter || return
    look
    was=$found
    while :; do
        case $found in
        absent) break ;;
        # What an earlier release left, and a lease of the same id besides, cannot both be.
        lease)
            if [ -d ".releasing-$id" ]; then remove ".releasing-$id"; fi
            try mv "$id" ".releasing-$id"
            ;;
        *) remove ".$found-$id" ;;
        esac
        look
    done
    [ "$was" = absent ] || found=released
}

# Names every lease, and what is known of it.
list() {
    enter || return
    for one in cbx_* .acquiring-cbx_* .releasing-cbx_*; do
        ! [ -L "$one" ] && [ -d "$one" ] || continue
        say entry "$one"
        [ -f "$one/$marker" ] && ! [ -L "$one/$marker" ] || continue
        count=0
        while [ $count -lt 4 ] && IFS= read -r line; do
            say "$line"
            count=$((count + 1))
        done <"$one/$marker"
    done
}

doctor() {
    say system "$(uname -s 2>/dev/null)"
    missing=
    for one in cat chmod cmp cp find grep head ln mkdir mv rm sed sleep sort stat tar touch uniq xargs; do
        command -v "$one" >/dev/null || missing="$missing $one"
    done
    say missing "$missing"
    leader=
    for one in setsid perl python3; do
        command -v "$one" >/dev/null && leader=$one && break
    done
    say leader "$leader"
    if enter; then above=.; fi
    [ -w "$above" ] && say writable yes
}

main() {
    say begin
    untouched=
    find_root
    found=absent
    case $verb in
    acquire)
        untouched=yes
        acquire
        ;;
    look) if enter; then look; fi ;;
    release) release ;;
    list) list ;;
    doctor) doctor ;;
    esac
    say root "$root"
    say found "$found"
    say end
}

main </dev/null
