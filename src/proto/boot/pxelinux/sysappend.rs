//! SYSAPPEND: what the loader knows of the machine, put behind the command line.

use super::super::context::Context;
use super::super::error::Place;
use crate::prelude::*;

/// The bits that have a meaning.
const KNOWN: u32 = (1 << (4 + SMBIOS.len())) - 1;

/// Names of SMBIOS texts by the bit that asks for them, from bit 4 on.
const SMBIOS: [(&str, &str); 14] = [
    ("SYSVENDOR", "sys_vendor"),
    ("SYSPRODUCT", "product_name"),
    ("SYSVERSION", "product_version"),
    ("SYSSERIAL", "product_serial"),
    ("SYSSKU", "product_sku"),
    ("SYSFAMILY", "product_family"),
    ("MBVENDOR", "board_vendor"),
    ("MBPRODUCT", "board_name"),
    ("MBVERSION", "board_version"),
    ("MBSERIAL", "board_serial"),
    ("MBASSET", "board_asset_tag"),
    ("BIOSVENDOR", "bios_vendor"),
    ("BIOSVERSION", "bios_version"),
    ("SYSFF", "chassis_type"),
];

/// Features of the processor that `CPU=` tells: its letter, and the flag in /proc/cpuinfo.
const CPU: [(char, &str); 6] = [
    ('P', "pae"),
    ('V', "vmx"),
    ('T', "smx"),
    ('X', "nx"),
    ('L', "lm"),
    ('S', "svm"),
];

/// Returns the words that `bits` ask for; what the machine does not tell is left out, as pxelinux
/// does, but not in silence.
pub(super) fn options(bits: u32, place: &Place, context: &mut Context) -> String {
    let facts = &context.facts;
    let mut words = Vec::new();
    let mut missing = Vec::new();
    let mut add = |name: &str, value: Option<String>| match value {
        // Spaces would end the word.
        Some(value) => words.push(format!(
            "{name}={}",
            value.trim().replace(char::is_whitespace, "_")
        )),
        None => missing.push(name.to_owned()),
    };
    if bits & 1 != 0 {
        let gateway = facts.gateway.unwrap_or(core::net::Ipv4Addr::UNSPECIFIED);
        let (address, server) = (facts.address, facts.boot_server);
        let ip = format!("{address}:{server}:{gateway}:{}", facts.netmask());
        add("ip", Some(ip));
    }
    if bits & 2 != 0 {
        add("BOOTIF", Some(facts.hardware_address()));
    }
    if bits & 4 != 0 {
        add(
            "SYSUUID",
            facts.smbios("product_uuid").map(str::to_ascii_lowercase),
        );
    }
    if bits & 8 != 0 {
        let has = |flag: &str| facts.cpu_flags.iter().any(|found| found == flag);
        let letters = CPU.iter().filter(|(_, flag)| has(flag));
        // Families are told up to 6, and every processor that this program is built for is of it.
        let features = letters.fold("6".to_owned(), |text, (letter, _)| {
            format!("{text}{letter}")
        });
        add("CPU", (!facts.cpu_flags.is_empty()).then_some(features));
    }
    for (bit, (name, file)) in (4..).zip(SMBIOS) {
        if bits & (1 << bit) != 0 {
            add(name, facts.smbios(file).map(str::to_owned));
        }
    }
    if bits & !KNOWN != 0 {
        missing.push(format!("bit {:#x}", bits & !KNOWN));
    }
    if !missing.is_empty() {
        let missing = missing.join(", ");
        let what = format!("SYSAPPEND asks for what this machine does not tell: {missing}");
        context.note(place, what);
    }
    words.join(" ")
}
