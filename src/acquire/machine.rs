//! What the firmware says of the machine, as the kernel shows it in /sys.

use std::fs;
use std::path::Path;

use crate::dhcp::identity::{Machine, parse_uuid};

/// Reads what there is; a machine without SMBIOS has no UUID.
pub(super) fn read() -> Machine {
    let is_efi = Path::new("/sys/firmware/efi").exists();
    let uuid = fs::read_to_string("/sys/class/dmi/id/product_uuid").ok();
    Machine {
        architecture: architecture(is_efi),
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
