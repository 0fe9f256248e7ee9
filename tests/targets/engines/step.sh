#!/bin/bash
# step.sh KEY SECONDS CODE: writes down its own beginning and end, process and parent into $ENGINE_RECORD, as the engine's truth.
echo "start $1 $BASHPID $PPID $EPOCHREALTIME 0" >> "$ENGINE_RECORD"
sleep "$2"
echo "end $1 $BASHPID $PPID $EPOCHREALTIME $3" >> "$ENGINE_RECORD"
case $3 in
KILL) kill -KILL $BASHPID ;;
esac
exit "$3"
