#!/bin/sh
# What the Debian root of tests/bench/root.rs starts as its first process: says when, and how much memory
# is left, and switches the machine off.
read -r seconds _ </proc/uptime
while read -r field kib _; do
    [ "$field" != MemAvailable: ] || break
done </proc/meminfo
echo "userspace after $seconds s, $kib KiB available" >/dev/console
echo o >/proc/sysrq-trigger
while :; do read -r _; done
