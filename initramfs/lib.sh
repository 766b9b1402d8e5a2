# What the scripts of initramfs and tests have in common; sourced by bash.
#
# Sets `root` (the repository), `work` (where everything that is downloaded or packed goes) and `arch`
# (the processor that binaries, kernels and packages are for; that of this machine).

set -euo pipefail
shopt -s inherit_errexit
PATH=$PATH:/usr/sbin:/sbin
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=${CARGO_TARGET_DIR:-$root/target}/initramfs
arch=$(uname -m)
mkdir -p "$work"

say() { printf '%s\n' "$*" >&2; }
die() {
    say "${0##*/}: $*"
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# The longest that another program which installs packages is waited for, in seconds: an upgrade of the
# whole system, downloads and all.
lock_patience=1800

# apt_get ARGUMENT…: apt-get that waits for others. By itself it waits for the locks of dpkg alone, if it
# is told to, and never for those of the lists and of the archives (pkgAcquire::GetLock, as of apt 2.6).
apt_get() {
    local log status started=$SECONDS
    log=$(mktemp)
    while :; do
        status=0
        LC_ALL=C apt-get -o "DPkg::Lock::Timeout=$lock_patience" "$@" </dev/null >"$log" 2>&1 || status=$?
        [ $status -ne 0 ] && [ $((SECONDS - started)) -lt "$lock_patience" ] &&
            grep -q '^E: Could not get lock' "$log" || break
        sleep 1
    done
    cat "$log"
    rm "$log"
    return $status
}

# root_shell ARGUMENT…: as root, a shell with apt_get, for the script on standard input.
root_shell() {
    { declare -p lock_patience; declare -f apt_get; cat; } | as_root bash -euo pipefail -s -- "$@"
}

# install_missing COMMAND=PACKAGES…: installs Debian's PACKAGES for each COMMAND that is not there.
install_missing() {
    local pair packages=()
    for pair; do
        command -v "${pair%%=*}" >/dev/null || packages+=(${pair#*=})
    done
    [ ${#packages[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        die "these are missing (by the names of Debian's packages); please install them: ${packages[*]}"
    say "installing with apt-get: ${packages[*]}"
    root_shell "${packages[@]}" <<'ROOT' >"$work/apt.log" 2>&1 ||
        # One at a time, or the second would restore the policy of the first. dpkg has no such lock.
        exec 9</var/lib/dpkg
        flock -w $lock_patience 9
        # Packages of servers start them when installed, and enable them for the next boot; the
        # tests want neither. policy-rc.d is how Debian lets that be said.
        policy=/usr/sbin/policy-rc.d
        restore() {
            rm -f $policy
            [ ! -e $policy.before-wireboot ] || mv $policy.before-wireboot $policy
        }
        trap restore EXIT
        trap 'exit 1' INT TERM
        [ ! -e $policy ] || mv $policy $policy.before-wireboot
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
        export DEBIAN_FRONTEND=noninteractive
        install() { apt_get install -y --no-install-recommends "$@" 9<&-; }
        install "$@" || { apt_get update 9<&- && install "$@"; }
        if [ -d /run/systemd/system ]; then
            for package; do
                dpkg -L "$package" | sed -n 's|^.*/systemd/system/\([^/]*\.service\)$|\1|p' |
                    xargs -r systemctl disable --quiet || :
            done
        fi
ROOT
        die "apt-get could not install them; its words are in $work/apt.log"
}

# Prints what Debian calls $arch.
debian_arch() { sed 's/x86_64/amd64/; s/aarch64/arm64/' <<<"$arch"; }

# Prints what goes behind the names of folders for another machine than this one.
other() { [ "$arch" = "$(uname -m)" ] || echo "-$arch"; }

# for_arch TOOL ARGUMENT…: apt-get or apt-cache for packages of $arch; those of another machine have
# lists of their own, so that nothing changes for this one.
for_arch() {
    local tool=${1/apt-get/apt_get} state
    shift
    if [ -z "$(other)" ]; then
        "$tool" "$@"
        return
    fi
    state=$work/apt$(other)
    mkdir -p "$state"/{lists,cache/archives}/partial
    touch "$state/status"
    "$tool" -o APT::Architecture="$(debian_arch)" -o APT::Architectures="$(debian_arch)" \
        -o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache" "$@"
}

# alone NAME COMMAND…: runs the command while no other process runs one under the same name.
alone() {
    local lock=$work/$1.lock
    shift
    (
        flock 9
        "$@"
    ) 9>"$lock"
}

# debian_package NAME: downloads Debian's package NAME without installing it, and prints the
# folder it is unpacked in.
debian_package() {
    local folder=$work/packages$(other)/$1
    alone packages unpack "$1" "$folder"
    echo "$folder"
}

# unpack NAME FOLDER
unpack() {
    local name=$1 folder=$2 loading=$2.part expected
    [ ! -e "$folder/.complete" ] || return 0
    know_package "$name"
    say "downloading Debian's $name"
    rm -rf "$folder" "$loading"
    mkdir -p "$loading"
    # A list of packages that is old names files that the server no longer has.
    download "$name" "$loading" || { update_lists && download "$name" "$loading"; } ||
        die "cannot download $name; apt-get's words are in $work/apt.log"
    expected=$(for_arch apt-cache show --no-all-versions "$name" | sed -n 's/^SHA256: //p')
    sha256sum --quiet -c <<<"$expected  $(echo "$loading"/*.deb)" >&2 ||
        die "what was downloaded as $name is not what the signed list says"
    dpkg -x "$loading"/*.deb "$loading"
    rm "$loading"/*.deb
    touch "$loading/.complete"
    mv "$loading" "$folder"
}

# download NAME FOLDER
download() { (cd "$2" && for_arch apt-get download -q "$1") >"$work/apt.log" 2>&1; }

update_lists() {
    if [ -n "$(other)" ]; then
        for_arch apt-get update
    else
        root_shell <<<'apt_get update'
    fi >"$work/apt.log" 2>&1
}

# Brings the lists of packages when they do not know package $1 yet.
know_package() {
    command -v apt-get >/dev/null || die "$1 is a package of Debian, and this is not Debian; --help tells how to do without"
    for_arch apt-cache show "$1" >"$work/apt.log" 2>&1 && return
    update_lists || :
    for_arch apt-cache show "$1" >>"$work/apt.log" 2>&1 || die "Debian's package lists do not know $1"
}

# debian_kernel [KIND]: prints a folder with links to one of Debian's kernels, `vmlinuz`, and to the
# folder of its modules, `modules`: that for virtual machines (cloud), the smallest with AF_PACKET and
# kexec_file_load, or the one for all machines (generic).
debian_kernel() {
    local kind=${1:-cloud} folder
    folder=$work/kernel-$kind$(other)
    alone kernel link_kernel "$folder" "$kind"
    echo "$folder"
}

# link_kernel FOLDER KIND
link_kernel() {
    local link=$1 kind=$2 name folder version
    [ ! -e "$link/vmlinuz" ] || return 0
    name=linux-image-$kind-$(debian_arch)
    name=${name/-generic-/-}
    know_package "$name"
    name=$(for_arch apt-cache depends "$name" | sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\)$/\1/p')
    folder=$(debian_package "$name")
    version=${name#linux-image-}
    # Newer releases keep everything below /usr.
    [ -d "$folder/lib" ] || ln -s usr/lib "$folder/lib"
    depmod -b "$folder" "$version"
    rm -rf "$link"
    mkdir "$link"
    ln -s "../packages$(other)/$name/lib/modules/$version" "$link/modules"
    ln -s "../packages$(other)/$name/boot/vmlinuz-$version" "$link/vmlinuz"
}

# greeting_initramfs FILE: packs a system that prints a greeting and its kernel's command line.
greeting_initramfs() {
    local busybox
    busybox=$(debian_package busybox-static)/bin/busybox
    "$root/initramfs/build" --arch "$arch" --kernel-modules none --init "$root/initramfs/greeting" \
        --add "$busybox=bin/busybox" --output "$1" >/dev/null
}

# The part of QEMU's arguments that is the same for every machine here: emulated in software, with its
# console on standard output.
qemu_machine=(-accel tcg -m 1024 -nodefaults -no-reboot -display none -serial stdio)

# The card of a machine on `tap0`.
qemu_on_tap="tap,id=net,ifname=tap0,script=no,downscript=no"

# bridge_with_tap: makes `bridge0`, 192.0.2.1/24, with `tap0`, in a network namespace of one's own.
bridge_with_tap() {
    ip link set lo up
    ip link add bridge0 type bridge
    ip address add 192.0.2.1/24 dev bridge0
    ip link set bridge0 up
    ip tuntap add tap0 mode tap
    ip link set tap0 master bridge0 up
}

# dnsmasq_on_bridge ARGUMENT…: grants addresses on `bridge0`, until it is killed.
dnsmasq_on_bridge() {
    # As root, since an ordinary user may not look into the folder of mktemp.
    dnsmasq --conf-file=/dev/null --no-daemon --user=root --port=0 --leasefile-ro --pid-file= --no-ping \
        --interface=bridge0 --bind-interfaces --dhcp-range=192.0.2.100,192.0.2.199,255.255.255.0,1h "$@"
}

# static_binary [CARGO ARGUMENT]…: builds the release binary without shared libraries, and prints
# where it is: with musl, or with the static C library of the machine where musl cannot be had.
static_binary() {
    local target flags anew=() commit built
    command -v cargo >/dev/null || die "this needs Rust (cargo and rustc), which rustup.rs installs"
    target=$arch-unknown-linux-musl
    if bring_target "$target"; then
        # Rust's own linker folds equal functions into one. A fixed address needs no relocations. What a
        # lease calls lies side by side (lease.ld).
        flags="-C linker=rust-lld -C relocation-model=static -C link-arg=--icf=all
            -C link-arg=--no-eh-frame-hdr -C link-arg=-Tinitramfs/size.ld -C link-arg=-Tinitramfs/lease.ld"
        if builds_std; then
            anew=(-Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size)
            # A panic, which there should be none of, ends the process without a message; the kernel's
            # log has the address ("trap invalid opcode"). Equal runs of instructions become one, and so
            # do functions that differ in constants; copies of more than 16 octets are made by calls.
            # Together they save an eighth, and a lease and the hash of a file take as long. No text for
            # people is by a derived `Debug`, which names the variant alone then; ureq-proto writes the
            # version of HTTP by a `Debug` of its own. Comparing takes less room than a table of eight
            # octets for each case of a match, but for the hundreds of TLS. A function with much on its
            # stack stays one, since all accesses to a large frame are longer: 54 KiB. What would be moved
            # out of a loop or a branch stays there, where it takes fewer registers: 40 KiB. Loops that are
            # not unrolled save 20 KiB where a processor has no instructions for SHA-2, and the second set
            # of vector instructions that Curve25519 has gains a boot nothing.
            flags+=" -Zunstable-options -Cpanic=immediate-abort -Zlocation-detail=none
                -Zfmt-debug=shallow -C llvm-args=-min-jump-table-entries=64
                -C llvm-args=-switch-to-lookup=false -C llvm-args=-inline-max-stacksize=200
                -C llvm-args=-disable-lsr -C llvm-args=-enable-pre=false
                -C llvm-args=-enable-load-pre=false -C llvm-args=-disable-licm-promotion
                -C llvm-args=-disable-machine-licm -C llvm-args=-disable-constant-hoisting
                --cfg curve25519_dalek_backend=\"serial\"
                --cfg sha2_backend_soft=\"compact\" --cfg sha2_512_backend=\"soft\"
                -C llvm-args=-enable-machine-outliner=always
                -C llvm-args=-enable-global-merge-func -C llvm-args=-max-store-memcpy=1
                -C llvm-args=-max-store-memmove=1 -C llvm-args=-max-store-memset=2"
        fi
    elif [ -n "$(other)" ]; then
        die "cannot build for $arch without the Rust target $target"
    else
        say "without $target: building with the machine's own static C library"
        target=$(uname -m)-unknown-linux-gnu
        flags="-C target-feature=+crt-static"
    fi
    # The C in a dependency, which does without a C library.
    if [ -n "$(other)" ]; then
        install_missing "$arch-linux-gnu-gcc=gcc-$arch-linux-gnu libc6-dev-$(debian_arch)-cross"
        export "CC_${target//-/_}=$arch-linux-gnu-gcc" "AR_${target//-/_}=$arch-linux-gnu-ar"
    fi
    # The same binary from each folder: no paths of this machine are in it.
    flags+=" --remap-path-prefix=$root=wireboot --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo
        --remap-path-prefix=$(rustc --print sysroot)/lib/rustlib/src/rust=rust"
    # By what cargo tells a test about its package, ring's build script would run anew, and so would all
    # that is behind it.
    unset "${!CARGO_PKG_@}" CARGO_MANIFEST_DIR
    # What --version says, and the time that a clock must not be behind; whoever builds from an archive may
    # set them.
    built=${SOURCE_DATE_EPOCH-$(git -C "$root" log -1 --format=%ct 2>/dev/null || :)}
    commit=${WIREBOOT_COMMIT-$(git -C "$root" describe --always --dirty --abbrev=12 --exclude='*' \
        2>/dev/null || echo unknown)}
    SOURCE_DATE_EPOCH=$built WIREBOOT_COMMIT=$commit RUSTFLAGS="${RUSTFLAGS:-} $flags" ${anew[0]:+env RUSTC_BOOTSTRAP=1} cargo build "${anew[@]}" \
        --manifest-path "$root/Cargo.toml" --quiet --release --target "$target" "$@" >&2
    echo "${CARGO_TARGET_DIR:-$root/target}/$target/release/wireboot"
}

# Tells whether the standard library can be built, without its code for backtraces: 250 KiB less. That takes
# its source, and a compiler that knows the way to panic above (1.92 does, 1.88 not). Cargo's flag for it is
# not stable yet, so RUSTC_BOOTSTRAP is set.
builds_std() {
    local lock
    RUSTC_BOOTSTRAP=1 rustc -Zunstable-options -Cpanic=immediate-abort --print sysroot >/dev/null 2>&1 || return 1
    lock=$(rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock
    [ -e "$lock" ] || { command -v rustup >/dev/null && rustup component add rust-src >&2; } || :
    [ -e "$lock" ]
}

# bring_target TARGET: tells whether Rust builds for TARGET, if need be once that has been added.
bring_target() {
    if ! has_target "$1" && command -v rustup >/dev/null; then
        say "adding the Rust target $1"
        rustup target add "$1" >&2 || say "rustup has it not"
    fi
    has_target "$1"
}

has_target() {
    compgen -G "$(rustc --print target-libdir --target "$1")/libstd-*.rlib" >/dev/null
}

# completion_files SHARE: prints where completions of bash, zsh and fish are, below a folder like
# /usr/share.
completion_files() {
    printf '%s\n' "$1/bash-completion/completions/wireboot" "$1/zsh/site-functions/_wireboot" \
        "$1/fish/vendor_completions.d/wireboot.fish"
}

# install_manual BINARY SHARE: writes manual pages and completions below SHARE, by BINARY if it runs here
# and has them, or by one that is built for this machine.
install_manual() {
    local tool=$1 share=$2 topic files place shells=(bash zsh fish)
    if ! "$tool" help --man >/dev/null 2>&1; then
        command -v cargo >/dev/null || return 1
        # In a folder of its own: tests that run beside this have theirs in the usual one.
        cargo build --quiet --manifest-path "$root/Cargo.toml" --target-dir "$work/manual" \
            --no-default-features --features manual >&2 || return 1
        tool=$work/manual/debug/wireboot
    fi
    install -d "$share"/man/man{7,8}
    "$tool" help --man >"$share/man/man8/wireboot.8"
    for topic in $("$tool" help | sed -n 's/^  \([a-z]\+\) .*/\1/p'); do
        "$tool" help --man "$topic" >"$share/man/man8/wireboot-$topic.8"
    done
    "$tool" help --man words >"$share/man/man7/wireboot.cmdline.7"
    if command -v lowdown >/dev/null; then install_chapters "$share"; fi
    mapfile -t files < <(completion_files "$share")
    for place in "${!shells[@]}"; do
        install -d "$(dirname "${files[place]}")"
        "$tool" help --completion "${shells[place]}" >"${files[place]}"
    done
}

# The chapters for those who use wireboot.
manual_chapters="usage recipes features boot-files root reference troubleshooting security"

# install_chapters SHARE: writes the chapters as manual pages below SHARE, such as wireboot-recipes(7). What
# a page is about is what the README says of its chapter.
install_chapters() {
    local name about page written
    written=${SOURCE_DATE_EPOCH-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)}
    for name in $manual_chapters; do
        about=$(sed -n "s|^\* \[.*(src/manual/$name\.md)[:,]* \(.*\)\.\$|\1|p" "$root/README.md")
        [ -n "$about" ] || die "README.md does not say what src/manual/$name.md is about"
        page=$1/man/man7/wireboot-$name.7
        {
            printf '.TH "WIREBOOT-%s" "7" "%s" "wireboot"\n' "$(tr '[:lower:]' '[:upper:]' <<<"$name")" \
                "$(date -u -d "@$written" +%F)"
            # Narrow cells cannot be justified.
            printf '.ad l\n.SH NAME\nwireboot-%s \\- %s\n.SH DESCRIPTION\n' "$name" "$about"
            # Without its title, which NAME is, and with the names of pages for links to chapters; lowdown
            # leaves the backslash in front of a bar in a table.
            sed -e 1d -e 's/\\|/\x01/g' -e '/^<!--/d' -e 's/^#\(#\+ \)/\1/' -e 's/\[\([^]]*\)\](#[^)]*)/\1/g' \
                -e 's/\[\([^]]*\)\](\([a-z-]\+\)\.md[^)]*)/\1 (wireboot-\2(7))/g' "$root/src/manual/$name.md" |
                lowdown -t man |
                # No paragraph begins where a section does; a font that every formatter has; and where long
                # words of a table may be broken.
                sed -e '1{/^[.][LP]P$/d}' -e '/^[.]S[HS]$/{n;n;/^[.][LP]P$/d}' \
                    -e 's/\\fC/\\fB/g' -e '/^[.]EX$/,/^[.]EE$/!{/^[.]/!s/\([],:=\x01]\)\([^] \\]\)/\1\\:\2/g}' \
                    -e 's/\x01/|/g'
        } >"$page"
    done
}
