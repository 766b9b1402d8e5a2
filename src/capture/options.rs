//! DHCP options for the eye, by the names under which tshark knows them.

use std::fmt::Write;
use std::net::Ipv4Addr;

use wireboot_proto::packet::option::known::{OptionValue, hex};
use wireboot_proto::packet::option::{Options, code};
use wireboot_proto::packet::pxe;

/// Appends a line for each option, and for each sub-option of PXE.
pub(super) fn append(options: &Options, text: &mut String) {
    let is_pxe = options
        .get(code::VENDOR_CLASS)
        .is_some_and(|class| class.starts_with(b"PXEClient"));
    for (code, value) in options.iter() {
        let _ = write!(text, "\n\t{} ({code}): ", name(code));
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

fn name(code: u8) -> &'static str {
    let index = usize::from(code).checked_sub(1);
    let name = index.and_then(|index| NAMES.split('|').nth(index));
    name.filter(|name| !name.is_empty()).unwrap_or("Option")
}

/// The names of options 1, 2, 3 and so on; nothing between two bars where there is none.
const NAMES: &str = "\
    Subnet Mask|Time Offset|Router|Time Server|Name Server|Domain Name Server|Log Server|\
    Quotes Server|LPR Server|Impress Server|Resource Location Server|Host Name|Boot File Size|\
    Merit Dump File|Domain Name|Swap Server|Root Path|Extensions Path|IP Forwarding|\
    Non-Local Source Routing|Policy Filter|Maximum Datagram Reassembly Size|\
    Default IP Time-to-Live|Path MTU Aging Timeout|Path MTU Plateau Table|Interface MTU|\
    All Subnets are Local|Broadcast Address|Perform Mask Discovery|Mask Supplier|\
    Perform Router Discover|Router Solicitation Address|Static Route|Trailer Encapsulation|\
    ARP Cache Timeout|Ethernet Encapsulation|TCP Default TTL|TCP Keepalive Interval|\
    TCP Keepalive Garbage|Network Information Service Domain|\
    Network Information Service Servers|Network Time Protocol Servers|\
    Vendor-Specific Information|NetBIOS over TCP/IP Name Server|\
    NetBIOS over TCP/IP Datagram Distribution Name Server|NetBIOS over TCP/IP Node Type|\
    NetBIOS over TCP/IP Scope|X Window System Font Server|X Window System Display Manager|\
    Requested IP Address|IP Address Lease Time|Option Overload|DHCP Message Type|\
    DHCP Server Identifier|Parameter Request List|Message|Maximum DHCP Message Size|\
    Renewal Time Value|Rebinding Time Value|Vendor class identifier|Client identifier|\
    Novell/Netware IP domain|Novell Options|Network Information Service+ Domain|\
    Network Information Service+ Servers|TFTP Server Name|Bootfile name|Mobile IP Home Agent|\
    SMTP Server|POP3 Server|NNTP Server|Default WWW Server|Default Finger Server|\
    Default IRC Server|StreetTalk Server|StreetTalk Directory Assistance Server|\
    User Class Information|Directory Agent Information|Service Location Agent Scope|\
    Rapid commit|Client Fully Qualified Domain Name|Agent Information Option|iSNS||\
    Novell Directory Services Servers|Novell Directory Services Tree Name|\
    Novell Directory Services Context|BCMCS Controller Domain Name|\
    BCMCS Controller IPv4 address|Authentication|Client last transaction time|\
    Associated IP option|Client System Architecture|Client Network Device Interface|LDAP||\
    UUID/GUID-based Client Identifier|Open Group's User Authentication|\
    Civic Addresses Configuration|PCode|TCode|||||||IPv6-Only Preferred||||\
    NetInfo Parent Server Address|NetInfo Parent Server Tag|DHCP Captive-Portal||\
    DHCP Auto-Configuration|Name Service Search|Subnet Selection Option|Domain Search|\
    SIP Servers|Classless Static Route|CableLabs Client Configuration|\
    Coordinate-based Location Configuration|V-I Vendor Class|V-I Vendor-specific Information|||\
    DOCSIS full security server IP||||||||PANA Authentication Agent|LoST Server Domain Name|\
    CAPWAP Access Controllers|IPv4 Address-MoS|IPv4 FQDN-MoS|SIP UA Configuration Domains|\
    IPv4 Address ANDSF|Zerotouch Redirect|Geospatial Location|Forcerenew Nonce Capable|\
    RDNSS Selection||||TFTP Server Address|Leasequery Status code|Leasequery Base Time|\
    Leasequery Start Time of State|Leasequery Query Start Time|Leasequery Query End Time|\
    Leasequery Dhcp State|Leasequery Data Source|PCP Server|Portparams||\
    Manufacturer Usage Description||||||||||||||Etherboot|IP Telephone|Etherboot||||||||||||||||\
    |||||||||||||||PXELINUX Magic|PXE Configuration file|PXE Path Prefix|Reboot Time|6RD|\
    V4 Access Domain|||||||Subnet Allocation|Virtual Subnet Selection|||||||||||||||||||||\
    Avaya IP Telephone|||||||Classless Static Route (Microsoft)|||Proxy autodiscovery";

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
\t\tMulticast Address (7): c0000204 [discovery address is 3221225988, which does not fit here]
\t\t[option length is cut off: 1 octets needed, 0 left]"
        );
    }

    #[test]
    fn names_stand_at_their_codes() {
        for (code, expected) in [
            (1, "Subnet Mask"),
            (53, "DHCP Message Type"),
            (97, "UUID/GUID-based Client Identifier"),
            (0, "Option"),
            (109, "Option"),
            (210, "PXE Path Prefix"),
            (255, "Option"),
        ] {
            assert_eq!(name(code), expected);
        }
    }
}
