#!/bin/bash
# dracut's module "network" with wireboot as the client. It stands before the module of dracut's own
# of that name, takes that one's parts, and leaves out the clients it would choose from.

stock() {
    local folder
    for folder in "${dracutbasedir:-/usr/lib/dracut}"/modules.d/[0-9][0-9]network; do
        [ "$folder" = "$moddir" ] || [ ! -e "$folder/netroot.sh" ] || echo "$folder"
    done
}

# called by dracut
check() {
    require_binaries /usr/local/sbin/wireboot || return 1
    return 255
}

# called by dracut
depends() {
    is_qemu_virtualized && echo -n "qemu-net "
    echo kernel-network-modules
}

# called by dracut
installkernel() {
    hostonly='' instmods af_packet 8021q bonding
}

# called by dracut
install() {
    local stock
    stock=$(stock | head -n 1)
    inst_script "$stock/netroot.sh" /sbin/netroot
    inst_simple "$stock/net-lib.sh" /lib/net-lib.sh
    inst_hook pre-udev 50 "$stock/ifname-genrules.sh"
    inst_hook cmdline 91 "$stock/dhcp-root.sh"
    inst_multiple ip sed awk grep pgrep tr
    inst_binary /usr/local/sbin/wireboot /usr/sbin/wireboot
    inst_hook pre-udev 60 "$moddir/need.sh"
    inst_hook initqueue/settled 99 "$moddir/settled.sh"
    inst_script "$moddir/up.sh" /sbin/wireboot-up
    dracut_need_initqueue
}
