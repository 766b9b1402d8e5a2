#!/bin/sh
# Sourced whenever udev has handled all devices, so that interfaces have their names.
if [ -e /tmp/wireboot.needed ] && [ ! -e /tmp/wireboot.done ]; then
    /sbin/wireboot-up
fi
