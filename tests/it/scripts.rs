//! The shell scripts of `initramfs`, on Debian.

use std::process::Command;

use crate::common::in_new_namespace;

#[test]
#[ignore = "needs CAP_SYS_ADMIN, overlayfs, apt and python3"]
fn what_installs_waits_for_others_that_do() {
    in_new_namespace(|| {
        let script = r#"
            # Nothing of what follows reaches the machine: /etc is a copy already.
            mkdir /run/upper /run/work /run/test
            mount -t overlay overlay -o lowerdir=/var,upperdir=/run/upper,workdir=/run/work /var
            rm -rf /etc/apt/sources.list*
            root=$PWD
            cd /run/test
            mkdir -p empty/DEBIAN
            printf '%s\n' 'Package: wireboot-empty' 'Version: 1' 'Architecture: all' \
                'Maintainer: nobody <nobody@example.com>' 'Description: nothing' >empty/DEBIAN/control
            dpkg-deb -b empty empty.deb >/dev/null
            export CARGO_TARGET_DIR=/run/test/target
            . "$root/initramfs/lib.sh"

            # held LOCK COMMAND…: runs the command while another process has the lock, for some seconds.
            held() {
                local lock=$1
                shift
                rm -f held released
                python3 - "$lock" <<'HOLD' &
import fcntl, sys, time
lock = open(sys.argv[1], "a")
fcntl.lockf(lock, fcntl.LOCK_EX)
open("held", "w")
time.sleep(3)
open("released", "w")
HOLD
                while [ ! -e held ]; do sleep 0.1; done
                "$@" || die "$lock: $* failed: $(cat "$work/apt.log")"
                [ -e released ] || die "$lock: $* did not wait"
                wait
            }
            for lock in dpkg/lock-frontend dpkg/lock cache/apt/archives/lock; do
                held /var/${lock/#dpkg/lib/dpkg} install_missing "no-such-command=$PWD/empty.deb"
                dpkg -P wireboot-empty >/dev/null
            done
            held /var/lib/apt/lists/lock update_lists

            # Two at once, and none leaves anything of the policy for starting servers.
            install_missing "no-such-command=$PWD/empty.deb" & install_missing "nor-this=$PWD/empty.deb"
            wait $!
            [ ! -e /usr/sbin/policy-rc.d.before-wireboot ]

            # What is not there fails, and not for want of patience.
            ! (install_missing no-such-command=no-such-package) || die "it cannot be installed"
            grep 'Unable to locate package' "$work/apt.log" >/dev/null
        "#;
        let output = Command::new("bash").args(["-euc", script]).output();
        let output = output.expect("bash is installed");
        assert!(output.status.success(), "{output:?}");
    });
}
