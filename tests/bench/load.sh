#!/bin/busybox sh
# /init of the machine that tests/bench/load.rs measures: as children a boot up to the load, and one with
# it, and beside them the memory that is in use, whenever that is 1 MiB more than ever before. The loader
# is in the environment, from the kernel's command line.
PATH=/bin
for command in mount mkdir modprobe usleep poweroff; do
    alias $command="busybox $command"
done
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /run/wireboot
for module in virtio_pci virtio_net af_packet; do
    modprobe $module
done

available() {
    while read -r field kib _; do
        [ "$field" != MemAvailable: ] || break
    done </proc/meminfo
}

available
before=$kib
least=$kib
while :; do
    available
    if [ "$kib" -lt $((least - 1024)) ]; then
        least=$kib
        echo "memory in use: $((before - kib)) KiB"
    fi
    usleep 20000
done &
wireboot boot -i eth0 --unattended --stop-after image
echo "now with the load"
wireboot boot -i eth0 --unattended --loader "$LOADER"
echo "the boot has failed"
poweroff -f
