#!/bin/sh
# Configures the network and tells those who wait for it. When that fails, dracut's queue comes back
# here until its time is over.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
command -v getcmdline >/dev/null || . /lib/dracut-lib.sh
command -v setup_net >/dev/null || . /lib/net-lib.sh

# What the kernel was given, and what stands in /etc/cmdline.d.
{
    # First, so that the others win.
    echo wireboot.hand-over=dracut,networkd,network-manager
    getcmdline
} >/tmp/wireboot.cmdline
wireboot lease --kernel-command-line /tmp/wireboot.cmdline || exit 1
: >/tmp/wireboot.done
for mark in /tmp/net.*.did-setup; do
    interface=${mark#/tmp/net.}
    interface=${interface%.did-setup}
    source_hook initqueue/online "$interface"
    /sbin/netroot "$interface"
done
