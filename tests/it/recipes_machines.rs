//! The recipes that take a whole machine: emulated ones on a bridge with the servers of the recipe.

use std::fs;
use std::path::Path;

use crate::common::far::{Far, Server};
use crate::common::machine::{Served, Setup, parts, shell};
use crate::common::recipe::{dnsmasq, recipe, run, server};
use crate::common::{in_new_namespace, wait_until};

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn the_diskless_node_starts_the_kernel_of_its_server() {
    in_new_namespace(|| {
        let recipe = recipe("diskless");
        let parts = parts();
        let far = server();
        recipe.write();
        fs::copy(&parts.kernel, "/srv/tftp/vmlinuz").unwrap();
        fs::copy(&parts.greeting, "/srv/tftp/initrd.img").unwrap();
        let _server = dnsmasq(&far);
        let mut machine = Setup::new(recipe.words()).on_tap(&["eth0"]).start();
        let greeting = "Greetings from the second kernel.";
        machine.says(&[greeting, "Its command line: console=tty0 console=ttyS0"]);
        machine.ends();
    });
}

#[test]
#[ignore = "needs qemu-system-x86_64 and mmdebstrap"]
fn a_node_reaches_its_root_on_nfs() {
    let debian = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nfs_root debian");
    let debian = run(debian).trim().to_owned();
    in_new_namespace(move || {
        let (recipe, other) = (recipe("NFS"), recipe("diskless"));
        // First, while folders of this machine are as they are.
        parts();
        let far = server();
        // What the commands change there is gone with the test.
        run(&format!(
            "cd /srv; mkdir root upper work
            mount -t overlay none -o lowerdir={debian},upperdir=upper,workdir=work root
            mount -t proc proc root/proc; mount --bind /dev root/dev; mount -t tmpfs none root/tmp"
        ));
        recipe.run_commands();
        run("umount /srv/root/tmp /srv/root/dev /srv/root/proc /srv/root");
        other.write();
        recipe.write();
        let _nfs = nfs_server(&far, &debian);
        let _server = dnsmasq(&far);
        let words = recipe.words();
        // The first program of that system says where it is.
        let words = format!("{words} wireboot.append=init=/usr/local/sbin/greeting");
        let mut machine = Setup::new(&words).on_tap(&["eth0"]).start();
        machine.says(&["Greetings from the root: nfs from 192.0.2.1:/srv/root"]);
        machine.ends();
    });
}

/// Starts the NFS server of a system in a folder, which exports that folder, with the file of the recipe.
fn nfs_server(far: &Far, debian: &str) -> [Server; 2] {
    run(&format!(
        "cd {debian}
        mount --bind . srv/root
        mount -t proc proc proc
        mount -t tmpfs none run
        mkdir -p run/ganesha run/rpcbind run/lock run/sendsigs.omit.d
        # A container has neither locks nor quotas.
        printf '%s\\n' 'NFS_CORE_PARAM {{ Enable_NLM = false; Enable_RQUOTA = false; }}' \
            'NFSV4 {{ Graceless = true; RecoveryBackend = fs; }}' >>/etc/ganesha/ganesha.conf
        mount --bind /etc/ganesha/ganesha.conf etc/ganesha/ganesha.conf"
    ));
    far.run("ip link set lo up");
    let has_program = |number: &str| {
        let programs = far.output(&format!("chroot {debian} rpcinfo -p 127.0.0.1"));
        let number = format!(" {number} ");
        programs
            .lines()
            .any(|line| line.contains(&number) && line.contains(" tcp "))
    };
    let portmapper = far.start(&format!("chroot {debian} rpcbind -w -f"));
    wait_until("the portmapper is there", || has_program("100000"));
    let nfs = far.start(&format!(
        "chroot {debian} ganesha.nfsd -F -L /dev/stderr -N FATAL -f /etc/ganesha/ganesha.conf \
         -p /run/ganesha.pid"
    ));
    // Programs 100003 and 100005 are NFS and its mounts.
    wait_until("the NFS server is there", || has_program("100005"));
    [portmapper, nfs]
}

/// What the machine runs once it is up: the commands of the recipe, and how the service ends.
const CHECK: &str = r#"[Unit]
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
ExecStart=/bin/bash /check
"#;

/// Times for the card where nobody answers, for a test that is over soon.
const SHORT: &str = "[Service]
ExecStart=
ExecStart=wireboot lease --keep --interface %I --timeout 2
WatchdogSec=10s
RestartSec=1s
";

const SCRIPT: &str = r#"set -e
main() { systemctl show -P MainPID wireboot@$1; }
status() { systemctl show -P StatusText wireboot@$1; }
# another UNIT PROCESS: waits until the unit has another main process, which is ready.
another() { until [ "$(main $1)" != $2 ] && systemctl -q is-active wireboot@$1; do sleep 0.2; done; }
bash -eux /commands
echo "status: $(status eth0)"
echo "type: $(systemctl show -P Type wireboot@eth0)"
grep -ao 'hostname[^-]*' /proc/$(main eth0)/cmdline | tr '\0' ' '
systemctl reload wireboot@eth0
until journalctl -u wireboot@eth0 -o cat | grep 'eth0: renewed 10.0.2.15'; do sleep 0.2; done
old=$(main eth0)
kill -9 $old
another eth0 $old
echo "after a kill: $(status eth0)"
# A card behind which nobody answers.
systemctl start wireboot@eth1
echo "without a server: $(systemctl is-active wireboot@eth1), $(status eth1)"
old=$(main eth1)
kill -STOP $old
another eth1 $old
journalctl -u wireboot@eth1 -o cat | grep 'Watchdog timeout'
systemctl stop wireboot@eth1
echo "security: $(systemd-analyze security --no-pager wireboot@eth0 | tail -n 1)"
systemctl stop wireboot@eth0
ip -o -4 address show dev eth0
echo "result: $(systemctl show -P Result wireboot@eth0) $(systemctl is-active wireboot@eth0 || :)"
systemctl poweroff --force
"#;

#[test]
#[ignore = "needs qemu-system-x86_64 and mmdebstrap"]
fn systemd_keeps_a_lease_and_stops_it_clean() {
    let recipe = recipe("systemd");
    let debian = shell(
        "make_debian() {
            [ ! -e \"$work/debian-systemd/.complete\" ] || return 0
            rm -rf \"$work/debian-systemd\"
            mmdebstrap --quiet --mode=root --variant=minbase --include=systemd-sysv,dbus,udev,iproute2 \\
                --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \\
                --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt=force-unsafe-io \\
                \"$(. /etc/os-release && echo \"$VERSION_CODENAME\")\" \"$work/debian-systemd\" >&2
            touch \"$work/debian-systemd/.complete\"
        }
        install_missing mmdebstrap=mmdebstrap mksquashfs=squashfs-tools zstd=zstd
        alone debian make_debian
        echo \"$work/debian-systemd\"",
    );
    let served = Served::empty("systemd");
    let folder = served.folder.display().to_string();
    in_new_namespace(move || {
        // The image: that system with wireboot, and what asks systemd.
        run(&format!(
            "cd {folder}; mkdir upper work root
            mount -t tmpfs none upper; mkdir upper/upper upper/work
            mount -t overlay none -o lowerdir={debian},upperdir=upper/upper,workdir=upper/work root"
        ));
        let root = format!("{folder}/root");
        run(&format!("./initramfs/install binary --root {root}"));
        let flags = "/etc/systemd/system/wireboot@eth0.service.d/flags.conf";
        let text = recipe.file(flags);
        let quiet = "/etc/systemd/system/wireboot@eth1.service.d/short.conf";
        for (path, text) in [
            (flags, text),
            (quiet, SHORT),
            ("/check", SCRIPT),
            ("/commands", recipe.commands()[0]),
            ("/etc/systemd/system/check.service", CHECK),
        ] {
            let path = format!("{root}{path}");
            fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        run(&format!(
            "cd {root}; ln -s ../check.service etc/systemd/system/multi-user.target.wants/
            mksquashfs . ../image -comp zstd -Xcompression-level 3 -quiet -no-progress >&2"
        ));
    });
    let archive = served.folder.join("initramfs");
    shell(&format!(
        "\"$root/initramfs/build\" --root --output {}",
        archive.display()
    ));
    let server = served.over_http();
    let words = format!("ip=dhcp wireboot.root={server}/image systemd.show_status=0 net.ifnames=0");
    let setup = Setup::new(&words).initramfs(&archive).with("-m 2048");
    let setup = setup
        .on_own_network(&served, "none")
        .with("-netdev hubport,id=quiet,hubid=1 -device virtio-net-pci,netdev=quiet");
    let mut machine = setup.start();
    machine.says(&[
        "systemctl is-active wireboot@eth0",
        "active",
        "status: eth0: 10.0.2.15/24 from 10.0.2.2",
        "type: notify",
        "hostname node7",
        "eth0: renewed 10.0.2.15",
        "after a kill: eth0: 10.0.2.15/24 from 10.0.2.2",
        "without a server: active, eth1: no lease; still asking",
        "Watchdog timeout",
        "Overall exposure level for wireboot@eth0.service: 2.",
        "inet 10.0.2.15/24",
        "result: success inactive",
    ]);
    machine.ends();
}
