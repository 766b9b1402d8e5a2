//! Configuration of a DHCP client for an interface of this machine.

use crate::config::DhcpConfig;
use crate::handover::HandOverIdentity;
use crate::link::Link;
use crate::sys::{self, firmware};
use wireboot_proto::dhcp::config::{Config as ClientConfig, requested};
use wireboot_proto::dhcp::identity::{self, MachineIdentity, parse_uuid};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::option::code;
use wireboot_proto::time::Random;

/// Returns the configuration of a client on `link`.
pub(super) fn client_config(link: &Link, config: &DhcpConfig) -> ClientConfig {
    ClientConfig {
        identity: identity(link.mac, config),
        requested: requested(config.identify, &config.introduction),
        wants_boot_file: config.proxy_wait.is_some(),
        proxy_wait: config.proxy_wait.unwrap_or_default(),
        // There must be time for the REQUEST.
        late_wait: config.late_wait.min(config.timeout / 2),
        // A committed lease cannot be compared with other offers (RFC 4039 §3.1).
        rapid_commit: config.proxy_wait.is_none(),
        detection: config.detection,
        broadcast: config.broadcast,
        ..ClientConfig::new(link.mac, seed(link.mac))
    }
}

/// Returns the options by which this machine identifies itself on the interface `mac`.
pub(super) fn identity(mac: MacAddress, config: &DhcpConfig) -> Vec<(u8, Vec<u8>)> {
    identity::options(
        config.identify,
        &config.introduction,
        config.given.host_name.as_deref(),
        mac,
        machine_identity,
    )
}

/// Returns the client identifier (option 61) that `config` sends.
pub(super) fn client_id(config: &ClientConfig) -> Vec<u8> {
    let mut options = config.identity.iter();
    let found = options.find(|(code, _)| *code == code::CLIENT_IDENTIFIER);
    found.map_or_else(Vec::new, |(_, value)| value.clone())
}

/// Returns for whom files for other programs are written: the client of this identifier on `link`.
pub(super) fn holder<'a>(link: &'a Link, client_id: &'a [u8]) -> HandOverIdentity<'a> {
    HandOverIdentity {
        interface: &link.name,
        index: link.index(),
        mac: link.mac,
        client_id,
        made_of: &link.made_of,
    }
}

/// Differs between machines even where the kernel has not gathered any randomness yet, as in a rack
/// of equal machines that start from equal images.
pub(super) fn seed(MacAddress([a, b, c, d, e, f]): MacAddress) -> u64 {
    let mac = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    // Equal seeds would give a rack equal delays, which is what the jitter of RFC 2131 §4.1 avoids.
    Random::new(sys::seed() ^ Random::new(mac).next_u64()).next_u64()
}

/// Reads what the kernel shows of the firmware in /sys; a machine without SMBIOS has no UUID.
fn machine_identity() -> MachineIdentity {
    let uuid = firmware::smbios("product_uuid");
    MachineIdentity {
        architecture: architecture(firmware::is_efi()),
        uuid: uuid.and_then(|text| parse_uuid(&text)),
    }
}

/// Returns the client system architecture type (RFC 4578 §2.1 and its IANA registry).
const fn architecture(is_efi: bool) -> u16 {
    match (is_efi, cfg!(target_arch = "x86_64")) {
        // 7 is what firmware on x86-64 sends; RFC 4578 had 7 and 9 swapped against it (its erratum
        // 4625).
        (true, true) => 7,
        (true, false) if cfg!(target_arch = "x86") => 6,
        _ if cfg!(target_arch = "aarch64") => 11,
        _ if cfg!(target_arch = "arm") => 10,
        _ if cfg!(target_arch = "riscv64") => 27,
        _ => 0,
    }
}
