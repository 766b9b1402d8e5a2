//! What the firmware says of the machine, as the kernel shows it in /sys.

use crate::sys::firmware;
use wireboot_proto::dhcp::identity::{MachineIdentity, parse_uuid};

/// Reads what there is; a machine without SMBIOS has no UUID.
pub(super) fn read() -> MachineIdentity {
    let uuid = firmware::smbios("product_uuid");
    MachineIdentity {
        architecture: architecture(firmware::is_efi()),
        uuid: uuid.and_then(|text| parse_uuid(&text)),
    }
}

/// Numbers of RFC 4578 and its registry.
const fn architecture(is_efi: bool) -> u16 {
    match (is_efi, cfg!(target_arch = "x86_64")) {
        (true, true) => 7,
        (true, false) if cfg!(target_arch = "x86") => 6,
        _ if cfg!(target_arch = "aarch64") => 11,
        _ if cfg!(target_arch = "arm") => 10,
        _ if cfg!(target_arch = "riscv64") => 27,
        _ => 0,
    }
}
