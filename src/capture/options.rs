//! DHCP options as text, by the names that tshark uses.

use std::fmt::Write;
use std::net::Ipv4Addr;

use wireboot_proto::packet::option::known::{self, OptionValue, hex};
use wireboot_proto::packet::option::{Options, code};
use wireboot_proto::packet::pxe;

/// Appends a line for each option, and for each sub-option of PXE.
pub(super) fn append(options: &Options, text: &mut String) {
    let is_pxe = options
        .get(code::VENDOR_CLASS)
        .is_some_and(|class| class.starts_with(b"PXEClient"));
    for (code, value) in options.iter() {
        let title = known::title(code).unwrap_or("Option");
        let _ = write!(text, "\n\t{title} ({code}): ");
        if code == code::VENDOR_SPECIFIC && is_pxe {
            sub_options(value, text);
        } else {
            text.push_str(&shown(code, value));
        }
    }
}

fn sub_options(value: &[u8], text: &mut String) {
    let mut options = Options::default();
    let result = options.read_encapsulated(value);
    for (code, value) in options.iter() {
        let name = pxe::name(code).unwrap_or("Sub-option");
        let _ = write!(text, "\n\t\t{name} ({code}): {}", sub_option(code, value));
    }
    if let Err(error) = result {
        let _ = write!(text, "\n\t\t[{error}]");
    }
}

fn sub_option(code: u8, value: &[u8]) -> String {
    let mut read =
        pxe::Pxe::read(&[&[code, u8::try_from(value.len()).unwrap_or(0)], value].concat());
    if let Some((_, error)) = read.ignored.pop() {
        return format!("{} [{error}]", hex(value));
    }
    let shown = match code {
        pxe::code::DISCOVERY_MCAST_ADDR => read.discovery_group.map(|group| group.to_string()),
        pxe::code::BOOT_SERVERS => {
            let servers = read.boot_servers.iter().map(|servers| {
                let addresses = servers.addresses.iter().map(Ipv4Addr::to_string);
                let addresses: Vec<_> = addresses.collect();
                format!("type {} at {}", servers.kind, addresses.join(" "))
            });
            Some(servers.collect::<Vec<_>>().join(", "))
        }
        pxe::code::BOOT_MENU => {
            let items = read.menu.iter();
            let items = items.map(|item| format!("{} \"{}\"", item.kind, item.description));
            Some(items.collect::<Vec<_>>().join(", "))
        }
        pxe::code::MENU_PROMPT => read
            .prompt
            .map(|prompt| format!("{} s, \"{}\"", prompt.timeout_seconds, prompt.text)),
        pxe::code::BOOT_ITEM => read
            .boot_item
            .map(|item| format!("type {}, layer {}", item.kind, item.layer)),
        _ => None,
    };
    shown.unwrap_or_else(|| hex(value))
}

fn shown(code: u8, value: &[u8]) -> String {
    let value = OptionValue::read(code, value);
    if let OptionValue::Text(_) = value {
        return format!("\"{value}\"");
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_the_sub_options_of_pxe_are_shown_by_name_and_meaning() {
        let mut options = Options::default();
        options.set(60, &b"PXEClient"[..]);
        options.set(3, [192, 0, 2, 1, 192, 0, 2, 2]);
        options.set(12, &b"\x07"[..]);
        options.set(51, [0, 0, 14, 16]);
        options.set(224, [0xab]);
        let sub_options = [
            &[6, 1, 8, 8, 7, 0x80, 0, 1, 192, 0, 2, 3, 9, 5, 0, 0, 2][..],
            b"hi\x0a\x03\x09go\x07\x04\xc0\x00\x02\x04\x09",
        ];
        options.set(43, sub_options.concat());
        let mut text = String::new();
        append(&options, &mut text);
        assert_eq!(
            text,
            "
\tVendor class identifier (60): \"PXEClient\"
\tRouter (3): 192.0.2.1 192.0.2.2
\tHost Name (12): \"\\u{7}\"
\tIP Address Lease Time (51): 3600
\tOption (224): ab
\tVendor-Specific Information (43): 
\t\tDiscovery Control (6): 08
\t\tBoot Servers (8): type 32768 at 192.0.2.3
\t\tBoot Menu (9): 0 \"hi\"
\t\tMenu Prompt (10): 9 s, \"go\"
\t\tMulticast Address (7): c0000204 [invalid discovery address 3221225988]
\t\t[option length is truncated: 1 bytes needed, 0 left]"
        );
    }
}
