# Signs of life: lines on standard input. When it ends, or when none has come for cbx_silence seconds, whoever
# wanted the run is gone, and the run is ended. wrap.sh calls `cbx_begin` before the command, and `cbx_over` after.

# Ends all of the run: SIGTERM, and after 5 s SIGKILL. The wrapper is told first: it waits until that is done.
cbx_end() {
  trap '' TERM
  kill -s USR1 $$
  cbx_own=$(exec sh -c 'echo $PPID')
  cbx_tenths=0
  while cbx_look; [ -n "$cbx_left" ] && [ "$cbx_tenths" -lt 150 ]; do
    [ "$cbx_tenths" != 0 ] || kill -s TERM $cbx_left
    [ "$cbx_tenths" -lt 50 ] || kill -s KILL $cbx_left
    cbx_pause
  done
  # Where the wrapper is alive it does this itself, after the command.
  kill -0 $$ || rm -f "$cbx_record"
}
# Counts seconds in which this machine was awake. SIGUSR1 is a sign of life. What the command sends to its group is
# meant for the command: this ends with the record, and by SIGUSR2.
cbx_count() {
  trap '' HUP INT TERM QUIT
  trap 'kill -s KILL $!; exit' USR2
  cbx_silent=0
  trap cbx_silent=0 USR1
  cbx_near=
  [ "$PPID" -le 1 ] || ! kill -0 "$PPID" || cbx_near=1
  while [ -e "$cbx_record" ] && [ "$cbx_silent" -lt "$cbx_silence" ]; do
    [ -z "$cbx_near" ] || kill -0 "$PPID" || break
    cbx_silent=$((cbx_silent + 1))
    sleep 1 &
    # The first may have been cut short by a sign of life.
    wait $!
    wait $!
  done
  [ ! -e "$cbx_record" ] || cbx_end
}
cbx_read() {
  trap '' HUP INT TERM QUIT USR1
  while IFS= read -r cbx_line; do kill -s USR1 "$cbx_watch"; done
  kill -s USR2 "$cbx_watch"
  cbx_end
}
cbx_begin() {
  # Where the signal was ignored when this shell began it cannot be heard, and the end of input alone counts.
  cbx_ending=
  trap cbx_ending=1 USR1
  kill -s USR1 $$
  [ -n "$cbx_ending" ] || cbx_silence=999999999
  # Until the counter expects it, it must not end it.
  trap '' USR1
  (cbx_count) </dev/null >/dev/null 2>&1 3>&- &
  cbx_watch=$!
  cbx_ending=
  trap cbx_ending=1 USR1
  # What runs in the background has no standard input, unless it is told which. It is in parentheses because a
  # shell keeps what it had open when a function's own standard output is changed.
  exec 4<&0 </dev/null
  (cbx_read) <&4 >/dev/null 2>&1 3>&- 4<&- &
  cbx_reader=$!
  exec 4<&-
}
cbx_over() {
  cbx_own="$$ $cbx_watch $cbx_reader"
  cbx_tenths=0
  # The command may be what sent the signal: then nobody ends the rest, and it is not waited for without end.
  while [ -n "$cbx_ending" ] && [ "$cbx_tenths" -lt 200 ]; do
    cbx_look
    [ -n "$cbx_left" ] || break
    cbx_pause
  done
  # A signal that comes while a shell starts can be lost, but not this one.
  kill -s USR2 "$cbx_watch"
  kill -s KILL "$cbx_reader"
  wait "$cbx_reader"
  # If it was ending the run, what it waited with has no parent now.
  [ -z "$cbx_ending" ] || [ -n "$cbx_left" ] || { cbx_look; [ -z "$cbx_left" ] || kill -s KILL $cbx_left; }
}
