//! The recipe of a kernel with wireboot in it, which is built as it says and started. Building it takes five
//! minutes and more, so `tests/run` does it with `--fuzz` alone.

use std::fs;

use crate::common::in_new_namespace;
use crate::common::machine::{Served, Setup, shell};
use crate::common::recipe::{recipe, run, server};

#[test]
#[ignore = "needs qemu-system-x86_64, and builds a kernel"]
fn a_kernel_with_wireboot_in_it_boots_without_a_disk() {
    let recipe = recipe("LinuxBoot");
    let source = shell(
        "source_of_kernel() {
            local name folder=$work/linux
            [ ! -e \"$folder/.complete\" ] || return 0
            know_package linux-source
            name=$(for_arch apt-cache depends linux-source | sed -n 's/.*Depends: //p')
            rm -rf \"$folder\"
            mkdir -p \"$folder\"
            tar -x -C \"$folder\" --strip-components=1 -f \"$(debian_package \"$name\")\"/usr/src/linux-source-*.tar.xz
            touch \"$folder/.complete\"
        }
        install_missing make=make flex=flex bison=bison bc=bc xz=xz-utils cc='gcc libc6-dev'
        [ -e /usr/include/libelf.h ] || install_missing no-such-command=libelf-dev
        alone linux source_of_kernel
        echo \"$work/linux\"",
    );
    let served = Served::new("payload");
    let kernel = served.folder.join("payload");
    let copy = kernel.clone();
    in_new_namespace(move || {
        let _far = server();
        run(&format!(
            "mkdir /usr/src/linux; mount --bind {source} /usr/src/linux"
        ));
        recipe.write();
        recipe.run_commands();
        let made = "/usr/src/linux/arch/x86/boot/bzImage";
        // None is dropped because of another that it depends on.
        let chosen = fs::read_to_string("/usr/src/linux/.config").unwrap();
        for option in recipe.file("/usr/src/linux/wireboot.config").lines() {
            assert!(chosen.lines().any(|line| line == option), "{option}");
        }
        fs::copy(made, copy).unwrap();
    });
    let len = fs::metadata(&kernel).unwrap().len();
    // The recipe says 3.0 MiB of one version of Linux.
    assert!((2 << 20..4 << 20).contains(&len), "{len}");
    served.put(
        "boot.ipxe",
        "#!ipxe\nkernel vmlinuz console=ttyS0 quiet no_timer_check\ninitrd greeting\nboot\n",
    );
    for card in ["virtio-net-pci", "e1000e"] {
        let machine = Setup::of_kernel(&kernel).with(&format!(
            "-netdev user,id=net,tftp={},bootfile=boot.ipxe -device {card},netdev=net",
            served.folder.display()
        ));
        let mut machine = machine.start();
        machine.says(&["Greetings from the second kernel."]);
        machine.ends();
    }
}
