#!/bin/bash
# dracut's module "network" with wireboot as the client. It stands before the module of dracut's own
# of that name, takes that one's parts, and leaves out the clients it would choose from.

# The modules in which dracut-ng has what its clients share; older ones have it in their module "network".
shared() {
    local module
    for module in net-lib initqueue; do
        ! compgen -G "${dracutbasedir:-/usr/lib/dracut}/modules.d/[0-9][0-9]$module" >/dev/null || echo "$module"
    done
}

# The folder of dracut's own module, if it has those parts.
stock() {
    local folder
    for folder in "${dracutbasedir:-/usr/lib/dracut}"/modules.d/[0-9][0-9]network; do
        [ "$folder" = "$moddir" ] || [ ! -e "$folder/netroot.sh" ] || echo "$folder"
    done
}

# The binary, as it was installed by hand or by a package.
client() {
    local file
    for file in /usr/local/sbin/wireboot /usr/lib/wireboot/wireboot; do
        [ ! -x "${dracutsysrootdir-}$file" ] || { echo "$file" && return; }
    done
    return 1
}

# called by dracut
check() {
    client >/dev/null || return 1
    return 255
}

# called by dracut
depends() {
    # In dracut-ng the module qemu-net joins by itself.
    ! type -t is_qemu_virtualized >/dev/null || ! is_qemu_virtualized || echo qemu-net
    shared
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
    if [ -n "$stock" ]; then
        inst_script "$stock/netroot.sh" /sbin/netroot
        inst_simple "$stock/net-lib.sh" /lib/net-lib.sh
        inst_hook pre-udev 50 "$stock/ifname-genrules.sh"
        inst_hook cmdline 91 "$stock/dhcp-root.sh"
    fi
    inst_multiple ip sed awk grep tr
    inst_binary "$(client)" /usr/sbin/wireboot
    inst_hook pre-udev 60 "$moddir/need.sh"
    inst_hook initqueue/settled 99 "$moddir/settled.sh"
    inst_script "$moddir/up.sh" /sbin/wireboot-up
    dracut_need_initqueue
}
