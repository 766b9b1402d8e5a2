//! What is started is what was meant: whole boots of an emulated machine that must not happen, and
//! what a TPM is told of one that does.

use std::fs;
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::common::far::Server;
use crate::common::machine::{Served, Setup, shell};
use crate::common::wait_until;
use wireboot_proto::packet::option::known::parse_hex;
use wireboot_proto::text::url;

/// `/init` around wireboot: shows two registers of the TPM before and after.
const SCRIPT: &str = "#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
show() {
    for pcr in 8 9; do
        echo \"$1 $pcr $(/bin/busybox cat /sys/class/tpm/tpm0/pcr-sha256/$pcr)\"
    done
}
/bin/busybox modprobe virtio_pci
/bin/busybox modprobe virtio_net
show before
/bin/wireboot boot --stop-after load
show after
/bin/busybox poweroff -f
";

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_tpm_has_the_hashes_of_kernel_initrd_and_command_line() {
    let served = Served::new("measured");
    let command_line = "BOOT_IMAGE=vmlinuz initrd=greeting quiet";
    served.put(
        "pxelinux.cfg/default",
        "default a\nlabel a\nkernel vmlinuz\ninitrd greeting\nappend quiet\n",
    );
    let own = Served::empty("tpm");
    let tpm = software_tpm(&own.folder);
    own.put("init", SCRIPT);
    let archive = own.folder.join("archive");
    shell(&format!(
        "chmod +x {init}; \"$root/initramfs/build\" --init {init} --output {archive} \
         --modules 'virtio_pci virtio_net' --add $(static_binary)=bin/wireboot \
         --add $(debian_package busybox-static)/bin/busybox=bin/busybox",
        init = own.folder.join("init").display(),
        archive = archive.display(),
    ));
    let setup = Setup::new("").initramfs(&archive).with(&format!(
        "-chardev socket,id=tpm,path={} -tpmdev emulator,id=tpm,chardev=tpm -device tpm-tis,tpmdev=tpm",
        own.folder.join("socket").display()
    ));
    let console = setup.on_own_network(&served, "pxelinux.0").start().ends();
    drop(tpm);
    let register = |when: &str| {
        let value = console.lines().find_map(|line| line.strip_prefix(when));
        let digits = value.unwrap_or_else(|| panic!("no {when} in\n{console}"));
        parse_hex(digits.trim()).unwrap()
    };
    let hash = |name: &str| Sha256::digest(fs::read(served.folder.join(name)).unwrap()).to_vec();
    let files = extended(&register("before 9 "), &hash("vmlinuz"));
    let files = extended(&files, &hash("greeting"));
    assert_eq!(register("after 9 "), files, "{console}");
    let line = Sha256::digest(command_line);
    let line = extended(&register("before 8 "), &line);
    assert_eq!(register("after 8 "), line, "{console}");
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn what_is_not_what_was_meant_is_never_started_and_what_is_does_start() {
    let served = Served::new("meant");
    let own = Served::empty("policy");
    let minisign = |arguments: &str| {
        let mut command = Command::new("minisign");
        let command = command.args(arguments.split_whitespace());
        let output = command.current_dir(&own.folder).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    minisign("-G -W -p key.pub -s key");
    let public = fs::read_to_string(own.folder.join("key.pub")).unwrap();
    own.put(
        "policy",
        format!("key {}\n", public.lines().nth(1).unwrap()),
    );
    let archive = own.folder.join("archive");
    shell(&format!(
        "\"$root/initramfs/build\" --output {} --add {}=etc/wireboot/policy",
        archive.display(),
        own.folder.join("policy").display()
    ));
    let kernel = served.folder.join("vmlinuz");
    let sign = |name: &str| {
        let (kernel, signature) = (kernel.display(), served.folder.join(name));
        minisign(&format!("-S -s key -m {kernel} -x {}", signature.display()));
    };
    sign("good.sig");
    // A signature by another key, of the same file.
    minisign("-G -W -f -p other.pub -s key");
    sign("foreign.sig");
    let hash = |name: &str| {
        let octets = fs::read(served.folder.join(name)).unwrap();
        url::Sha256(Sha256::digest(octets).into()).to_string()
    };
    let wrong = "00".repeat(32);
    let http = served.over_http();
    served.put(
        "greeting.cut",
        fs::read(served.folder.join("greeting")).unwrap(),
    );

    let words = "ip=dhcp wireboot.on-failure=retry";
    let script = |lines: &str| served.put("boot.ipxe", format!("#!ipxe\n{lines}\nboot\n"));
    script(&format!("kernel vmlinuz#sha256={wrong}"));
    let setup = Setup::new(words).initramfs(&archive);
    let mut machine = setup.on_own_network(&served, "boot.ipxe").start();
    for (lines, reason) in [
        (
            "kernel vmlinuz\nimgverify vmlinuz missing.sig".to_owned(),
            "expected 0000",
        ),
        (
            "kernel vmlinuz\nimgverify vmlinuz foreign.sig".to_owned(),
            "there is no signature",
        ),
        (
            format!("kernel vmlinuz\ninitrd {http}/greeting.cut"),
            "the signature is by none of the trusted keys",
        ),
        (
            format!(
                "kernel vmlinuz#sha256={} quiet console=ttyS0 word=meant\n\
                 initrd greeting#sha256={}\nimgverify vmlinuz good.sig",
                hash("vmlinuz"),
                hash("greeting")
            ),
            "greeting.cut",
        ),
    ] {
        machine.says(&[reason, "retrying in"]);
        script(&lines);
    }
    let console = machine.ends();
    assert_eq!(
        console.matches("wireboot: starting ").count(),
        1,
        "{console}"
    );
    assert!(
        console.contains("Its command line: quiet console=ttyS0 word=meant"),
        "{console}"
    );
}

/// What a register holds that held `before` and is extended by `digest`.
fn extended(before: &[u8], digest: &[u8]) -> Vec<u8> {
    Sha256::digest([before, digest].concat()).to_vec()
}

/// Starts a TPM whose state and `socket` are in this folder.
fn software_tpm(folder: &Path) -> Server {
    let socket = folder.join("socket");
    let mut command = Command::new("swtpm");
    command
        .args(["socket", "--tpm2", "--tpmstate"])
        .arg(format!("dir={}", folder.display()))
        .arg("--ctrl")
        .arg(format!("type=unixio,path={}", socket.display()));
    let server = Server::start(&mut command);
    wait_until("swtpm listens", || socket.exists());
    server
}
