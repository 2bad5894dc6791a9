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
# Fails unless all of it can be read, and the tailnet is up. A record ends with a comma, so that none is long: some awks
# take the square of a line's length. In the C locale a character is a byte.
cbx_read() {
  CBX_TAG=$1 LC_ALL=C awk '
    BEGIN { tag = ENVIRON["CBX_TAG"]; RS = ","; want = "value"; hex = "0123456789abcdef" }
    function fail() { bad = 1; exit 1 }

    # A string, number, word, or the end of an object or list, where a value may stand.
    function value(text, is_string) {
      if (want != "value" && want != "value or ]") fail()
      if (depth == 1 && is_string && key[1] == "BackendState") state = text
      if (node && depth == node && is_string && key[node] == "HostName") host = text
      if (node && depth == node + 1 && is_string && kind[depth] == "[") {
        if (key[node] == "Tags" && text == tag) tagged = 1
        if (key[node] == "TailscaleIPs" && address == "" && is_address(text)) address = text
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
        host = address = tagged = ""
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
      if (!tagged || address == "" || (address in seen)) return
      if (length(host) > 63 || host !~ /^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$/) return
      seen[address] = 1
      lines[++count] = address " " host ".cbx"
    }
    function is_address(text, parts, n) {
      if (text !~ /^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/) return 0
      split(text, parts, ".")
      for (n = 1; n <= 4; n++) if (length(parts[n]) > 3 || parts[n] + 0 > 255) return 0
      return 1
    }
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
      for (n = 1; n <= count; n++) print lines[n]
    }
  '
}

# A hosts file with this block in it, in the place of the one that is there. Fails where that one has no end.
cbx_merge() {
  CBX_LINES=$2 awk '
    BEGIN { lines = ENVIRON["CBX_LINES"] }
    function block() {
      if (lines != "") print "# BEGIN crabbox crew\n" lines "\n# END crabbox crew"
      done = 1
    }
    $0 == "# BEGIN crabbox crew" && !inside { inside = 1; if (!done) block(); next }
    $0 == "# END crabbox crew" && inside { inside = 0; next }
    !inside { print }
    END { if (inside) exit 1; if (!done) block() }
  ' "$1"
}

# Puts a text, which ends with a `.` of ours, into a file at one stroke, with the mode and the owner that it had. A file
# that cannot be replaced, because it is a link, is mounted there, or its directory is not ours, is written into.
cbx_put() {
  cbx_new=$1.cbx-$$
  if [ ! -L "$1" ] && [ -w "${1%/*}" ]; then
    cbx_copy "$1" && printf %s "${2%.}" >"$cbx_new" || { rm -f "$cbx_new"; cbx_fail "cannot write $cbx_new"; }
    mv -f "$cbx_new" "$1" 2>/dev/null && return
    rm -f "$cbx_new"
  fi
  printf %s "${2%.}" >"$1" || cbx_fail "cannot write $1"
}
cbx_copy() {
  if [ -e "$1" ]; then cp -p "$1" "$cbx_new"; else (umask 022 && : >"$cbx_new"); fi
}

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
cbx_text=$(cbx_merge "$cbx_old" "$cbx_lines" && echo .) ||
  cbx_fail "the block of crabbox in $cbx_hosts has no end; nothing was changed"
cbx_make "$cbx_names" "${cbx_lines:+$cbx_lines
}."
# Without a name and without a block there is nothing to do to it.
if [ "$cbx_lines" ] || grep -q '^# BEGIN crabbox crew$' "$cbx_old"; then cbx_make "$cbx_hosts" "$cbx_text"; fi
echo "$cbx_done: $(printf %s "$cbx_lines" | grep -c .) names"
