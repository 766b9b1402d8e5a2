//! Debian with its root on NFS, by an initramfs of Debian's own tools with wireboot in it. What is
//! emulated, by qemu-system-x86_64, is the machine; kernel, tools and NFS server are Debian's.

use std::path::Path;
use std::process::Command;

#[test]
#[ignore = "needs QEMU and mmdebstrap"]
fn an_initramfs_of_initramfs_tools_reaches_its_root_on_nfs() {
    reaches_its_root(&["initramfs-tools"]);
}

#[test]
#[ignore = "needs QEMU and mmdebstrap"]
fn an_initramfs_of_dracut_reaches_its_root_on_nfs() {
    reaches_its_root(&["dracut"]);
}

// Debian 13's is dracut-ng; Debian 12's with systemd differs from the test above by less.
#[test]
#[ignore = "needs QEMU and mmdebstrap"]
fn an_initramfs_of_dracut_ng_with_systemd_reaches_its_root_on_nfs() {
    reaches_its_root(&["dracut", "--suite", "trixie", "--systemd"]);
}

fn reaches_its_root(arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nfs_root");
    let output = Command::new(script)
        .args(arguments)
        .arg("wireboot")
        .output()
        .expect("the script is there");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(
        said.contains("Greetings from the root: nfs") && said.contains(" from 192.0.2.1:/srv/root"),
        "{said}"
    );
    println!("{said}");
}
