//! What the tests in network namespaces share: a namespace of its own for each, a far end with
//! real servers, and the client on the near end.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    unreachable_pub,
    reason = "each test file is a crate of its own and uses a part of this, and may fail by panicking"
)]

pub mod client;
pub mod dhcp;
pub mod far;
pub mod folder;
pub mod machine;
pub mod recipe;
pub mod scripted;
pub mod servers;
pub mod terminal;
pub mod tftp;

use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};

/// Gives the thread's namespace a `/run` and an `/etc` of its own.
const PRIVATE_FILES: &str = "mount --make-rprivate / && mount -t tmpfs none /run &&
    cp -a /etc /run/etc && mount --bind /run/etc /etc";

/// Runs `test` on a thread of its own in a new, empty network namespace, which goes when the
/// thread and what it started are gone. The host's name, `/etc` and `/run` are copies too, since
/// a lease changes them.
pub fn in_new_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        let own = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS;
        unshare(own).expect("namespaces take CAP_SYS_ADMIN");
        let mounted = Command::new("sh").args(["-c", PRIVATE_FILES]).status();
        assert!(mounted.expect("sh is installed").success());
        ip("link set lo up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip` in the namespace of the calling thread and returns what it printed.
pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("ip is installed");
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("ip prints text")
}

/// Gives the thread's namespace a `/var/lib` of its own: dhcpcd keeps its leases there whatever it is told.
pub fn own_var_lib() {
    let own = "mount -t tmpfs none /var/lib && mkdir /var/lib/dhcpcd";
    let mounted = Command::new("sh").args(["-c", own]).status();
    assert!(mounted.unwrap().success());
}

/// Makes two interfaces, `near` and `far`, that are wired together and send nothing by themselves;
/// returns their indices.
pub fn pair() -> (u32, u32) {
    ip("link add near type veth peer name far");
    for name in ["near", "far"] {
        ip(&format!("link set {name} addrgenmode none"));
        ip(&format!("link set {name} up"));
    }
    let index = |name| nix::net::if_::if_nametoindex(name).unwrap();
    (index("near"), index("far"))
}

/// Waits until `condition` holds; fails when it does not within half a minute.
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        thread::sleep(std::time::Duration::from_millis(5));
    }
}
