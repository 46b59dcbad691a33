#!/usr/bin/env bash
# Prints the folder for what tests write: one in memory if there is room, for no test cuts the power, and a disk takes
# minutes for a thousand databases. Else the usual one. Where no program may be started from there is no place for tests.
set -euo pipefail
memory=/dev/shm
room_kb=$((4 * 1024 * 1024))

is_quick() {
    [ -w "$memory" ] && grep -q "^[^ ]* $memory tmpfs " /proc/mounts && ! grep -q "^[^ ]* $memory .*noexec" /proc/mounts &&
        [ "$(df -k --output=avail "$memory" | tail -1)" -ge "$room_kb" ] &&
        [ "$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)" -ge "$((2 * room_kb))" ]
}

if [ -z "${TMPDIR:-}" ] && is_quick 2>/dev/null; then echo "$memory"; else echo "${TMPDIR:-/tmp}"; fi
