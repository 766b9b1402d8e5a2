//! A machine with somebody at one of its consoles, or with nobody but its watchdog: process 1 in an
//! emulated one.

use crate::common::machine::{CARD, Served, Setup, shell};

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn messages_and_the_menu_are_on_the_screen_and_on_the_serial_line_and_either_answers() {
    let served = Served::new("consoles");
    served.put(
        "pxelinux.cfg/default",
        "default menu.c32\nlabel one\n localboot 0\nlabel two\n kernel missing\n",
    );
    let archive = served.archive_with_shell("");
    // The screen is /dev/console, being the last one; the harness reads the serial line.
    let words = "console=tty0 ip=dhcp wireboot.on-failure=shell";
    let setup = Setup::new(words).initramfs(&archive).with("-device VGA");
    let mut machine = setup.on_own_network(&served, "pxelinux.0").start();
    machine.says(&["eth0: 10.0.2.15/24 from 10.0.2.2", "two"]);
    // At the screen's keyboard.
    machine.monitor("sendkey down");
    machine.monitor("sendkey ret");
    machine.says(&[
        "/missing: the server says: file not found",
        "starting /bin/busybox",
    ]);
    // At the serial line: what is on the screen.
    machine.types("/bin/busybox cat /dev/vcs1 | /bin/busybox fold -w 80; echo shown-$((1+1))\n");
    machine.says(&["wireboot: starting /bin/busybox", "shown-2"]);
    // A record of the kernel's log, of process 1 itself, and each line once.
    let count = "/bin/busybox dmesg | /bin/busybox grep -c 'wireboot: starting /bin/busybox'";
    machine.types(&format!("echo found-$({count})-records\n"));
    machine.says(&["found-1-records"]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_watchdog_is_fed_while_a_boot_waits_stopped_at_its_end_and_resets_a_machine_that_hangs() {
    let own = Served::empty("watchdog");
    let archive = own.archive_with_shell(
        "--modules 'virtio_pci virtio_net i6300esb' \
         --kernel-modules \"$(readlink -f \"$(debian_kernel generic)/modules\")\"",
    );
    // That for virtual machines has no driver of a watchdog.
    let kernel = shell("echo \"$(debian_kernel generic)/vmlinuz\"");
    let words = "ip=dhcp wireboot.watchdog=10 wireboot.stop-after=lease wireboot.on-failure=shell";
    let devices = format!("-netdev user,id=net -device {CARD} -device i6300esb");
    let setup = Setup::new(words)
        .kernel(kernel.as_ref())
        .initramfs(&archive)
        .with(&devices);
    let mut machine = setup.start();
    machine.says(&[
        "/dev/watchdog0 resets this machine after 10 s",
        "starting /bin/busybox",
    ]);
    // It was stopped in order, so that a machine that nobody feeds lives on.
    machine.types("/bin/busybox sleep 15; echo stopped-$((1+1))\n");
    machine.says(&["stopped-2"]);
    machine.types("/init boot -i none --link-timeout 300 --watchdog 10 & ");
    machine.types("/bin/busybox sleep 25; echo fed-$((1+2)); kill -STOP $!\n");
    machine.says(&["fed-3"]);
    let said = machine.ends();
    assert!(!said.contains("Power down"), "{said}");
}
