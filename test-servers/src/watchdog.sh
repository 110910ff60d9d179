# Makes a server's folder, waits for the end of the test process, then ends the server and removes the folder.
# Arguments: prefix of the folder, signal that ends the server, user and group that it runs as ("" for our own).
# Standard input is a pipe that only the test process can write to, and it never does: its end is that process's end.
trap '' HUP INT QUIT TERM
prefix=$1 signal=$2 user=$3 group=$4
cd /
umask 077
folder=$(mktemp -d "$prefix-XXXXXXXX") || exit 1
printf '%s\n' "$folder"
exec >/dev/null

read -r _

# Everything a server starts has its working directory in the folder. Only the user itself is certain to be allowed to see that:
# root is not, in a container without the capability SYS_PTRACE.
processes() {
  set -- find /proc/[0-9]*/cwd -maxdepth 0 -lname "$folder*"
  [ -z "$user" ] || set -- setpriv --reuid="$user" --regid="$group" --clear-groups "$@"
  "$@" 2>/dev/null | cut -d/ -f3
}

rounds=0
while pids=$(processes) && [ -n "$pids" ] && [ "$rounds" -lt 200 ]; do
  # shellcheck disable=SC2086
  kill -s "$signal" $pids
  rounds=$((rounds + 1))
  [ "$rounds" -lt 60 ] || signal=KILL
  sleep 0.05
done

# A PostgreSQL that was killed leaves a segment of System V shared memory, which outlives its folder.
segment=$(sed -n '7s/.* //p' "$folder/data/postmaster.pid")
[ -z "$segment" ] || ipcrm -m "$segment"

while read -r _ at _; do
  case $at in "$folder"/*) umount "$at" || umount -l "$at" ;; esac
done </proc/mounts
rm -rf --one-file-system "$folder"
