//! Roots that take most of a machine's memory, and such that take more than all of it.

use crate::common::machine::{Served, Setup, shell};
use crate::live_root::{SHORT_INIT, make_tree, root_archive};

#[test]
#[ignore = "needs qemu-system-x86_64, zstd and squashfs-tools"]
fn an_image_of_two_thirds_of_the_memory_starts_and_what_takes_more_is_refused() {
    let served = Served::empty("memory");
    let server = served.over_http();
    let (archive, tree) = (served.folder.join("initramfs"), served.folder.join("tree"));
    let kernel = root_archive(&archive);
    make_tree(&tree, "medlar", SHORT_INIT);
    // The 1 GiB of a machine of 1.5 GiB, a quarter of each.
    shell(&format!(
        "cd {}; head -c 255M /dev/urandom >tree/ballast; mksquashfs tree a.squashfs -quiet -noD
        cp {kernel} vmlinuz; printf 'default a\nlabel a\nkernel vmlinuz\ninitrd a.squashfs\n' >label
        rm tree/ballast; truncate -s 2G zeros tree/zeros
        zstd -q zeros -o bomb.zst; tar -C tree -c . | zstd -q -o bomb.tar.zst; rm zeros tree/zeros",
        served.folder.display()
    ));
    let start = |words: &str| {
        Setup::new(words)
            .kernel(kernel.as_ref())
            .initramfs(&archive)
            .on_own_network(&served, "none")
            .with("-m 384")
            .start()
    };
    let mut machine = start(&format!(
        "root={server}/a.squashfs wireboot.on-failure=poweroff"
    ));
    machine.says(&["a.squashfs: 256 MiB", "the word is medlar", "Power down"]);
    machine.ends();
    // Refused before it is fetched, with the figures and what to do.
    let mut machine = start(&format!(
        "wireboot.boot-file={server}/label wireboot.on-failure=poweroff"
    ));
    machine.says(&[
        "with the copies that are made of it, it needs",
        "boot failed: exit code 7",
        "switched off",
    ]);
    let said = machine.ends();
    for expected in [
        "MiB available, and 16 MiB stay free",
        "a system takes less as a root",
    ] {
        assert!(said.contains(expected), "{expected}:\n{said}");
    }
    assert!(!said.contains("a.squashfs: 256 MiB"), "{said}");
    // Nothing but the unpacked bytes tells their number; what they took is free again for the next attempt.
    for (name, why) in [
        ("bomb.zst", "it needs more than"),
        ("bomb.tar.zst", "memory does not suffice to unpack it"),
    ] {
        let mut machine = start(&format!("root={server}/{name}"));
        for _ in 0..2 {
            machine.says(&[why, "boot failed: exit code 7", "retrying in"]);
        }
        let said = machine.text();
        assert!(!said.contains("Out of memory: Killed"), "{said}");
    }
}
