//! The first process of an emulated machine, as what it is to all others, and to a person at a shell:
//! it is told by signals how the machine is to end, and reaps whoever has lost a parent. The machine
//! is one of qemu-system-x86_64.

use crate::common::machine::{Machine, Served, Setup};

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn ctrl_alt_del_restarts_the_machine_in_good_order() {
    let mut machine = Setup::new("wireboot.link-timeout=0").start();
    machine.says(&["retrying in"]);
    machine.monitor("sendkey ctrl-alt-delete");
    machine.says(&[
        "received a signal to end the machine",
        "the machine restarts",
        "reboot: Restarting system",
    ]);
    machine.ends();
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_person_at_the_shell_restarts_the_machine_or_switches_it_off() {
    for (command, end) in [
        ("reboot", "reboot: Restarting system"),
        ("poweroff", "reboot: Power down"),
    ] {
        let own = Served::empty(command);
        let mut machine = shell_of_a_machine(&own);
        // It goes on until it is asked to end, and then says so.
        machine.types(
            "sh -c 'trap \"echo asked to end; exit\" TERM; while :; do sleep 0.1; done' &\n",
        );
        machine.types(&format!("echo ready-$((40 + 2)); {command}\n"));
        machine.says(&["ready-42", "received a signal to end the machine"]);
        machine.says(&["asked to end", end]);
        machine.ends();
    }
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn the_first_process_survives_signals_and_reaps_orphans() {
    let own = Served::empty("orphan");
    let mut machine = shell_of_a_machine(&own);
    machine
        .types("for s in KILL SEGV HUP ALRM CHLD; do kill -$s 1; done; echo alive-$((40 + 2))\n");
    machine.says(&["alive-42"]);
    machine.types("sh -c 'sleep 0.5 & echo $! >/run/orphan'; read orphan </run/orphan\n");
    machine.types("while [ -e /proc/$orphan ]; do sleep 0.1; done; echo reaped-$((40 + 2))\n");
    machine.says(&["reaped-42"]);
    machine.types("exit\n");
    machine.says(&["exit code 0", "retrying in"]);
}

/// Starts a machine without a network, whose boot fails at once and leaves a person a shell.
fn shell_of_a_machine(own: &Served) -> Machine {
    let archive = own.archive_with_shell("--kernel-modules none");
    let words = "wireboot.link-timeout=0 wireboot.on-failure=shell";
    let mut machine = Setup::new(words).initramfs(&archive).start();
    machine.says(&["starting /bin/busybox"]);
    machine.types("/bin/busybox --install -s /bin\n");
    machine
}
