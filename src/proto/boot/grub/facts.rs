//! Commands that tell of the machine and its lease: `cpuid`, `smbios`, `net_get_dhcp_option`.

use super::super::facts::Architecture;
use super::super::step::Step;
use super::shell::{Call, PendingStatement, Shell, StatementEffect, StatementResult};
use super::test::number;
use crate::prelude::*;

const STRING: &str = "get-string";

/// Values of SMBIOS by the option that gets them, the type of their structure, their offset in it
/// (DMTF DSP0134 §7), and their name in `/sys/class/dmi/id`.
const SMBIOS: [(&str, i64, i64, &str); 17] = [
    (STRING, 0, 4, "bios_vendor"),
    (STRING, 0, 5, "bios_version"),
    (STRING, 1, 4, "sys_vendor"),
    (STRING, 1, 5, "product_name"),
    (STRING, 1, 6, "product_version"),
    (STRING, 1, 7, "product_serial"),
    ("get-uuid", 1, 8, "product_uuid"),
    (STRING, 1, 25, "product_sku"),
    (STRING, 1, 26, "product_family"),
    (STRING, 2, 4, "board_vendor"),
    (STRING, 2, 5, "board_name"),
    (STRING, 2, 6, "board_version"),
    (STRING, 2, 7, "board_serial"),
    (STRING, 2, 8, "board_asset_tag"),
    (STRING, 3, 8, "chassis_asset_tag"),
    (STRING, 3, 4, "chassis_vendor"),
    ("get-byte", 3, 5, "chassis_type"),
];

pub(super) fn cpuid(_: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let facts = &call.context.facts;
    let has_pae = || facts.cpu_flags.iter().any(|flag| flag == "pae");
    let is_pae = call.option("pae").is_some();
    // Long mode needs PAE, so a processor of 64 bits has both.
    let is_64_bit = facts.architecture == Architecture::X86_64;
    Ok(StatementEffect::Status(is_64_bit || is_pae && has_pae()))
}

pub(super) fn smbios(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let value = |name: &str| call.option(name).map(number);
    // The first structure of its type is the one whose texts the kernel has.
    let is_first = value("match").is_none_or(|number| number == 1);
    let wanted = |(option, kind, at, _): &&(&str, i64, i64, &str)| {
        value("type") == Some(*kind) && value(option) == Some(*at)
    };
    let file = SMBIOS
        .iter()
        .find(wanted)
        .filter(|_| is_first && value("handle").is_none());
    let Some(text) = file.and_then(|(_, _, _, name)| call.context.facts.smbios(name)) else {
        return Ok(StatementEffect::fails(
            "fails: not available on this machine",
        ));
    };
    let mut text = text.to_owned();
    if call.option("get-uuid").is_some() {
        text.make_ascii_lowercase();
    }
    if call.option("linux").is_some() {
        // As the kernel prints them in its names of devices (linux_string() of smbios.c).
        text.retain(|c| c.is_ascii_graphic() && c != ':');
    }
    tell(shell, call, call.option("set"), text)
}

/// `net_get_dhcp_option VARIABLE INTERFACE NUMBER string|number|hex`: an option of the lease, which
/// is that of the only interface there is.
pub(super) fn dhcp_option(shell: &mut Shell, call: &mut Call<'_>) -> StatementResult {
    let [variable, _, code, form, ..] = call.words.as_slice() else {
        return Ok(StatementEffect::fails("fails: wrong number of words"));
    };
    let octets = u8::try_from(number(code)).ok();
    let octets = octets.and_then(|code| call.context.facts.options.get(&code));
    let Some(octets) = octets else {
        return Ok(StatementEffect::fails(
            "fails: the lease has no such option",
        ));
    };
    let text = match *form {
        "string" => match octets.split(|octet| *octet == 0).next() {
            Some(text) => String::from_utf8_lossy(text).into_owned(),
            None => String::new(),
        },
        "number" => {
            let number = octets.iter();
            let number = number.fold(0_u64, |number, octet| number << 8 | u64::from(*octet));
            number.to_string()
        }
        "hex" => octets.iter().map(|octet| format!("{octet:02x}")).collect(),
        _ => {
            return Ok(StatementEffect::fails(
                "fails: the form is string, number or hex",
            ));
        }
    };
    tell(
        shell,
        call,
        Some(*variable).filter(|name| *name != "-"),
        text,
    )
}

/// Sets the variable, or shows the text without one.
fn tell(
    shell: &mut Shell,
    call: &Call<'_>,
    variable: Option<&str>,
    text: String,
) -> StatementResult {
    let Some(variable) = variable else {
        return Ok(StatementEffect::Ask(
            Step::Say(text),
            PendingStatement::Nothing,
        ));
    };
    shell.variables.assign(variable, &text, call.place)?;
    Ok(StatementEffect::Status(true))
}
