# Names for the members of a crew, on a machine in their tailnet: NAME.cbx for each node that wears the crew's tag, this
# one included, in /etc/hosts.cbx and in a block of /etc/hosts. Takes the tag. What is right already is not touched, and
# where the tailnet says nothing that can be read, nothing is.
#
# For a test: CBX_HOSTS, CBX_NAMES and CBX_TAILSCALE name the two files and the program.
cbx_hosts=${CBX_HOSTS:-/etc/hosts}
cbx_names=${CBX_NAMES:-/etc/hosts.cbx}

cbx_fail() {
  echo "$1" >&2
  exit 1
}

# The lines `ADDRESS NAME.cbx` of a status, which is JSON of any shape: https://pkg.go.dev/tailscale.com/ipn/ipnstate.
# Fails unless all of it can be read, and the tailnet is up. Of nodes with one name those that are offline or expired are
# left out, unless all are: a machine that was made anew leaves its old node behind. One that has expired may be said to
# be online, and is not let in. This machine is neither.
#
# A record ends with a comma, so that none is long: some awks take the square of a line's length. In the C locale a
# character is a byte.
cbx_read() {
  CBX_TAG=$1 LC_ALL=C awk '
    BEGIN { tag = ENVIRON["CBX_TAG"]; RS = ","; want = "value"; hex = "0123456789abcdef" }
    function fail() { bad = 1; exit 1 }

    # A string, number, word, or the end of an object or list, where a value may stand.
    function value(text, is_string) {
      if (want != "value" && want != "value or ]") fail()
      if (depth == 1 && is_string && key[1] == "BackendState") state = text
      if (node == 3 && depth == 3 && !is_string && key[3] == "Online" && text == "false") away = 1
      if (node == 3 && depth == 3 && !is_string && key[3] == "Expired" && text == "true") away = 1
      if (node && depth == node && is_string && key[node] == "HostName") host = text
      if (node && depth == node + 1 && is_string && kind[depth] == "[") {
        if (key[node] == "Tags" && text == tag) tagged = 1
        if (key[node] == "TailscaleIPs" && address == "" && is_address(text)) address = text
        if (key[node] == "TailscaleIPs" && longer == "" && is_longer(text)) longer = text
      }
      want = depth ? ", or end" : "nothing"
    }
    function open(what) {
      if (want != "value" && want != "value or ]") fail()
      if (!depth && what != "{") fail()
      kind[++depth] = what
      key[depth] = ""
      want = what == "{" ? "key or }" : "value or ]"
      if (what == "{" && (depth == 2 && key[1] == "Self" || depth == 3 && key[1] == "Peer" && kind[2] == "{")) {
        node = depth
        host = address = longer = tagged = away = ""
      }
    }
    function close_with(what) {
      if (!depth || kind[depth] != (what == "}" ? "{" : "[")) fail()
      if (want != ", or end" && want != (what == "}" ? "key or }" : "value or ]")) fail()
      if (node == depth) {
        take()
        node = 0
      }
      depth--
      want = depth ? ", or end" : "nothing"
    }
    function take() {
      sub(/^crabbox-/, "", host)
      if (address == "") address = longer
      if (!tagged || address == "" || (address in seen)) return
      if (length(host) > 63 || host !~ /^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$/) return
      seen[address] = 1
      lines[++count] = address " " host ".cbx"
      name[count] = tolower(host)
      dead[count] = away
      if (!away) alive[name[count]] = 1
    }
    function is_address(text, parts, n) {
      if (text !~ /^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/) return 0
      split(text, parts, ".")
      for (n = 1; n <= 4; n++) if (length(parts[n]) > 3 || parts[n] + 0 > 255) return 0
      return 1
    }
    # For a node that has no other, as in a tailnet without IPv4: one of the network that all are in (tsaddr.go).
    function is_longer(text) { return length(text) < 40 && text ~ /^fd7a:115c:a1e0:[0-9a-f:]*[0-9a-f]$/ }
    function word_ends() {
      if (word == "") return
      if (word !~ /^(true|false|null|-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?)$/) fail()
      value(word, 0)
      word = ""
    }
    function string_ends() {
      inside = 0
      if (want == "key or }" || want == "key") {
        key[depth] = text
        want = ":"
      } else value(text, 1)
    }
    function character(c) {
      if (inside && escape == "u") {
        code = code * 16 + index(hex, tolower(c)) - 1
        if (!index(hex, tolower(c))) fail()
        if (++digits < 4) return
        # No name has anything else in it.
        text = text (code >= 32 && code < 127 ? sprintf("%c", code) : "?")
        escape = ""
      } else if (inside && escape == "\\") {
        escape = code = ""
        if (c == "u") { escape = "u"; code = digits = 0 }
        else if (index("\"\\/", c)) text = text c
        else if (index("bfnrt", c)) text = text "?"
        else fail()
      } else if (inside) {
        if (c == "\\") escape = "\\"
        else if (c == "\"") string_ends()
        else if (c < " ") fail()
        else text = text c
      } else if (c ~ /[-+.0-9A-Za-z]/) {
        word = word c
      } else {
        word_ends()
        if (c == "\"") { inside = 1; text = "" }
        else if (c == "{" || c == "[") open(c)
        else if (c == "}" || c == "]") close_with(c)
        else if (c == ":" && want == ":") want = "value"
        else if (c == "," && want == ", or end") want = kind[depth] == "{" ? "key" : "value"
        else if (c != " " && c != "\n" && c != "\t" && c != "\r") fail()
      }
    }
    {
      if (NR > 1) character(",")
      record = $0
      end = length(record)
      for (at = 1; at <= end; at++) character(substr(record, at, 1))
    }
    END {
      if (bad || want != "nothing" || word != "" || state != "Running") exit 1
      for (n = 1; n <= count; n++) if (!dead[n] || !(name[n] in alive)) print lines[n]
    }
  '
}

# A hosts file with these lines as its block, in the place of the one that is there. Exits 3 where that one has no end;
# one that was cut off has none, and is recognised: it has nothing but our lines, and perhaps a piece of one, and is the
# last of the file. The lines come by a pipe: a variable for awk may not be as long as they.
cbx_merge() {
  printf '%s\n' "$2" | awk '
    BEGIN { begins = "# BEGIN crabbox crew"; ends = "# END crabbox crew" }
    function block() {
      if (count) print begins
      for (n = 1; n <= count; n++) print lines[n]
      if (count) print ends
      done = 1
    }
    function is_ours(line) {
      return line == "" || line ~ /^([0-9]+\.[0-9]+\.[0-9]+\.[0-9]+|fd7a:[0-9a-f:]+) [A-Za-z0-9-]+\.cbx$/
    }
    # What no line of somebody else is: an address and a name may be, unless we are about to write them.
    function is_piece(line) {
      if (index(ends, line) == 1 || line ~ /^[0-9.]+ ?$/ || line ~ /^[0-9.]+ [A-Za-z0-9-]+\.(c|cb)?$/) return 1
      if (line ~ /^fd7a:[0-9a-f:]+ ?$/ || line ~ /^fd7a:[0-9a-f:]+ [A-Za-z0-9-]+\.(c|cb)?$/) return 1
      for (n = 1; n <= count; n++) if (index(lines[n], line) == 1) return 1
      return 0
    }
    FNR == NR { if ($0 != "") lines[++count] = $0; next }
    $0 == begins && !inside { inside = 1; held = odd = 0; if (!done) block(); next }
    $0 == ends && inside { inside = 0; next }
    inside { if (held++ && !is_ours(last)) odd = 1; last = $0; next }
    length($0) < 15 || index(begins, $0) != 1
    END {
      if (inside && (odd || held && !is_ours(last) && !is_piece(last))) exit 3
      if (!done) block()
    }
  ' - "$1"
}

# Puts a text, which ends with a `.` of ours, into a file at one stroke, with the mode and the owner that it had. A file
# that cannot be replaced, because it is a link, is mounted there, or its directory is not ours, is written into.
cbx_put() {
  cbx_new=$1.cbx-$$
  if [ ! -L "$1" ] && [ -w "${1%/*}" ]; then
    cbx_copy "$1" && (printf %s "${2%.}" >"$cbx_new") || { rm -f "$cbx_new"; cbx_fail "cannot write $cbx_new"; }
    mv -f "$cbx_new" "$1" 2>/dev/null && return
    rm -f "$cbx_new"
  fi
  cbx_into "$1" "$2"
}
cbx_copy() {
  if [ -e "$1" ]; then cp -p "$1" "$cbx_new"; else (umask 022 && : >"$cbx_new"); fi
}

# Writes a text into a file that stays the one it is. It is never shorter than it was before all of the text is in it:
# `>` would empty it first, and on a full disk the rest would be lost. Empty lines behind the old text find out whether
# there is room; then all is written over by `1<>`, which wants no more of it, and the old text has its room either way.
cbx_into() {
  cbx_was=.
  [ ! -e "$1" ] || cbx_was=$(cat "$1" && echo .) || cbx_fail "cannot read $1"
  cbx_had=$(cbx_size "$cbx_was")
  cbx_has=$(cbx_size "$2")
  trap '' HUP INT TERM
  cbx_room "$1" "$cbx_has" && cbx_over "$1" "$2" && cbx_cut "$1" "$cbx_has" && return
  cbx_over "$1" "$cbx_was" && cbx_cut "$1" "$cbx_had" && cbx_fail "cannot write $1, which is as it was"
  cbx_fail "cannot write $1, and cannot make it what it was"
}
cbx_size() { printf %s "${1%.}" | wc -c; }
# Not every awk says that it could not write. Each writes in another process: a limit may kill who writes.
cbx_room() {
  awk -v more="$(($2 - cbx_had))" 'BEGIN { while (more-- > 0) print "" }' 2>/dev/null >>"$1"
  [ "$(wc -c <"$1")" -ge "$2" ]
}
cbx_over() { (printf %s "${2%.}" 1<>"$1") 2>/dev/null; }
# To a length, as POSIX says of `seek`.
cbx_cut() { dd if=/dev/null of="$1" bs=1 seek="$2" 2>/dev/null; }

# Makes a file this text, if it is not.
cbx_make() {
  [ ! -e "$1" ] || [ "$(cat "$1" && echo .)" != "$2" ] || return 0
  cbx_put "$1" "$2"
  cbx_done=written
}

cbx_done=unchanged
cbx_status=$("${CBX_TAILSCALE:-tailscale}" status --json) ||
  cbx_fail 'tailscale does not say how it stands; nothing was changed'
cbx_lines=$(printf '%s\n' "$cbx_status" | cbx_read "$1") ||
  cbx_fail 'tailscale is not up, or says what cannot be read; nothing was changed'
cbx_lines=$(printf '%s\n' "$cbx_lines" | LC_ALL=C sort)
cbx_old=$cbx_hosts
[ -e "$cbx_old" ] || cbx_old=/dev/null
cbx_text=$(cbx_merge "$cbx_old" "$cbx_lines" && echo .) || case $? in
3) cbx_fail "the block of crabbox in $cbx_hosts has no end; nothing was changed" ;;
*) cbx_fail "cannot read $cbx_hosts; nothing was changed" ;;
esac
cbx_make "$cbx_names" "${cbx_lines:+$cbx_lines
}."
# Without a name and without a block there is nothing to do to it.
if [ "$cbx_lines" ] || grep -q '^# BEGIN crabbox crew$' "$cbx_old"; then cbx_make "$cbx_hosts" "$cbx_text"; fi
echo "$cbx_done: $(printf %s "$cbx_lines" | grep -c .) names"
