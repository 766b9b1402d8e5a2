#!/usr/bin/env bash
# Makes what tests/bench/root.rs boots, once: a Debian root as root.squashfs, its kernel, and an initramfs
# for it by Debian's dracut (livenet and dmsquash-live) and one by wireboot. Prints the folder.
. "$(dirname "$0")/../../initramfs/lib.sh"

folder=$work/debian-root
tree=$folder/tree
release=$(. /etc/os-release && echo "$VERSION_CODENAME")

# dracut's module for systemd-networkd would want a D-Bus in the initramfs; network-legacy has dhclient.
make_tree() {
    rm -rf "$folder"
    mkdir -p "$folder"
    echo 'add_dracutmodules+=" network-legacy "' >"$folder/dhclient.conf"
    mmdebstrap --variant=minbase --verbose \
        --setup-hook="install -D $folder/dhclient.conf \"\$1/etc/dracut.conf.d/dhclient.conf\"" \
        --include="linux-image-$(debian_arch),systemd-sysv,dracut,dracut-network,dracut-live" \
        --include=ca-certificates,curl,iproute2,iputils-arping,isc-dhcp-client,kmod,procps \
        "$release" "$tree" >"$work/debian-root.log" 2>&1 || die "mmdebstrap fails; see $work/debian-root.log"
    rm -rf "$tree"/var/{cache/apt,lib/apt/lists}/* "$tree"/boot/initrd.img-*
    install -m 755 "$root/tests/bench/first_line.sh" "$tree/sbin/first-line"
}

make_initramfs_of_dracut() {
    local version
    version=$(basename "$tree"/lib/modules/*)
    cp "$tree/boot/vmlinuz-$version" "$folder/vmlinuz"
    ln -sfn "tree/lib/modules/$version" "$folder/modules"
    mount --bind /dev "$tree/dev"
    mount -t proc proc "$tree/proc"
    trap 'umount "$tree/dev" "$tree/proc"' EXIT
    chroot "$tree" dracut --quiet --force --no-hostonly --add 'livenet dmsquash-live' \
        /tmp/dracut.gz "$version" >&2
    umount "$tree/dev" "$tree/proc"
    trap - EXIT
    mv "$tree/tmp/dracut.gz" "$folder/dracut.gz"
}

if [ ! -e "$folder/root.squashfs" ]; then
    say "making a Debian root"
    make_tree
    make_initramfs_of_dracut
    mksquashfs "$tree" "$folder/root.part" -quiet -no-progress -comp zstd -Xcompression-level 5 >&2
    mv "$folder/root.part" "$folder/root.squashfs"
fi
"$root/initramfs/build" --root --kernel-modules "$(readlink -f "$folder/modules")" \
    --output "$folder/wireboot.gz" >/dev/null
echo "$folder"
