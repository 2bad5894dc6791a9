# Around what is executed on a lease. $1 is the lease's directory, or nothing for one in the task's own; $2 how many
# bytes of standard input are the command's, or `-` for all of it; the rest is the command.
#
# It says that it is there before it is told anything: nothing is sent to one that was not heard of, and it ends
# without having done anything.
printf '\005'
# The first line on standard input is a word that nobody else knows. When the command has ended, it is printed on
# both streams, followed by how it ended: so whoever reads them knows that they are whole. Only then is standard
# input closed from the other side, and only then does this end: a stream that is still being copied is not cut
# off by the end of the process (hashicorp/nomad#27146).
IFS= read -r word || exit 125
d=$1
n=$2
shift 2
exec 3>&2
# What waits is the process that Nomad knows, which it can kill.
said() { printf '\001%s%s;' "$word" "$1"; printf '\001%s%s;' "$word" "$1" >&3; exec cat 4>&1 >/dev/null; }
[ -n "$d" ] || d=$NOMAD_TASK_DIR/crabbox
mkdir -p "$d" && cd "$d" || said fail
# Some shells report a killed child on standard error, which is the command's.
exec 2>/dev/null
case $n in
  -) (exec "$@") 2>&3 3>&- ;;
  0) (exec "$@") </dev/null 2>&3 3>&- ;;
  *) head -c "$n" | (exec "$@") 2>&3 3>&- ;;
esac
said "$?"
