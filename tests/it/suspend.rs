//! A machine of qemu-system-x86_64 that is suspended for longer than its lease lasts.

use crate::common::far::Far;
use crate::common::in_new_namespace;
use crate::common::machine::{Served, Setup};
use crate::common::servers::dhcpd;

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn after_a_long_sleep_the_lease_is_known_to_be_over_and_another_is_taken() {
    let own = Served::empty("suspend");
    let archive = own.archive_with_shell("");
    in_new_namespace(move || {
        let far = Far::plug_in();
        let server = dhcpd(&far, "max-lease-time 10; min-lease-time 10;");
        let words = "wireboot.stop-after=link wireboot.on-failure=shell";
        let setup = Setup::new(words).initramfs(&archive).on_tap(&["near"]);
        let mut machine = setup.start();
        machine.says(&["starting /bin/busybox"]);
        machine.types("/bin/busybox --install -s /bin\n");
        machine.types("/init lease -i eth0 --keep &\n");
        machine.says(&["eth0: 192.0.2.100/24 from 192.0.2.1 for 10 s"]);
        // While it is awake, it renews. The clock of the machine ends its sleep.
        let asked = server.count("DHCPDISCOVER");
        machine.types("echo +20 >/sys/class/rtc/rtc0/wakealarm; echo mem >/sys/power/state\n");
        machine.says(&["eth0: the lease has expired", "eth0: 192.0.2.100/24 from"]);
        assert!(server.count("DHCPDISCOVER") > asked);
        machine.types("echo $(dmesg | grep -c 'PM: suspend exit') sleep\n");
        machine.says(&["1 sleep"]);
    });
}
