#!/bin/sh
# Sourced before udev starts: whether the network is needed, and what to wait for.
if [ -n "$netroot" ] || getarg ip= >/dev/null || getargbool 0 rd.neednet; then
    : >/tmp/wireboot.needed
    echo '[ -e /tmp/wireboot.done ]' >"$hookdir/initqueue/finished/wireboot.sh"
fi
