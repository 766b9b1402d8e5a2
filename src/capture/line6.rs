//! IPv6 in a line: neighbour discovery, groups (MLD) and DHCPv6.

use std::fmt::Write;
use std::net::Ipv6Addr;

use wireboot_proto::ipv6::configuration::Configuration;
use wireboot_proto::packet::dhcpv6::{CLIENT_PORT, Message, Options, SERVER_PORT, Status, code};
use wireboot_proto::packet::icmpv6::{ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION};
use wireboot_proto::packet::neighbor::{
    Advertisement, NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION, NeighborMessage, RouterOption,
};
use wireboot_proto::packet::option::known::hex;
use wireboot_proto::reader::{DecodeError, Reader};
use wireboot_proto::text::safe::Safe;

/// Relays within relays (RFC 8415 §7.6, HOP_COUNT_LIMIT).
const MAX_RELAYS: u8 = 8;

/// Appends what a message of ICMPv6 says.
pub(super) fn icmp(message: &[u8], verbose: bool, text: &mut String) -> Result<(), DecodeError> {
    let mut reader = Reader::new(message);
    let [kind, code, ..] = reader.array::<4>("ICMPv6")?;
    let what = match kind {
        1 => "destination unreachable",
        2 => "packet too big",
        3 => "time exceeded",
        128 => "echo request",
        129 => "echo reply",
        130 => "multicast listener query",
        131 => "multicast listener report",
        132 => "multicast listener done",
        ROUTER_SOLICITATION => "router solicitation",
        ROUTER_ADVERTISEMENT => return router(message, verbose, text),
        NEIGHBOR_SOLICITATION | NEIGHBOR_ADVERTISEMENT => {
            let read = NeighborMessage::decode(message)?;
            let what = if read.is_solicitation {
                "neighbor solicitation, who has"
            } else {
                "neighbor advertisement, target is"
            };
            let _ = write!(text, "{what} {}", read.target);
            return Ok(());
        }
        137 => "redirect",
        143 => return groups(reader, text),
        other => {
            let _ = write!(text, "type {other}, code {code}");
            return Ok(());
        }
    };
    text.push_str(what);
    if let 130..=132 = kind {
        reader.take(4, "delay")?;
        let group = Ipv6Addr::from(reader.array::<16>("group")?);
        if !group.is_unspecified() {
            let _ = write!(text, ", group {group}");
        }
    }
    Ok(())
}

fn router(message: &[u8], verbose: bool, text: &mut String) -> Result<(), DecodeError> {
    let read = Advertisement::decode(message)?;
    text.push_str("router advertisement");
    for (is_set, flag) in [(read.managed, ", managed"), (read.other, ", other")] {
        if is_set {
            text.push_str(flag);
        }
    }
    let _ = write!(text, ", lifetime {} s", read.lifetime);
    for option in read.options() {
        match option {
            option if verbose => {
                let _ = write!(text, "\n\t{option}");
            }
            RouterOption::Prefix(prefix) => {
                let _ = write!(text, ", prefix {}/{}", prefix.network, prefix.len);
            }
            _ => {}
        }
    }
    if verbose {
        text.push_str("\n\t");
    }
    Ok(())
}

/// Appends the groups of a report of version 2 (RFC 3810 §5.2).
fn groups(mut reader: Reader<'_>, text: &mut String) -> Result<(), DecodeError> {
    text.push_str("multicast listener report v2");
    reader.take(2, "reserved")?;
    for _ in 0..reader.u16("number of records")? {
        let [kind, more] = reader.array("record")?;
        let sources = usize::from(reader.u16("number of sources")?) * 16;
        let group = Ipv6Addr::from(reader.array::<16>("group")?);
        // Without sources, "include" leaves a group (§5.2.12).
        let verb = match kind {
            1 | 3 if sources == 0 => "leaves",
            _ => "joins",
        };
        let _ = write!(text, ", {verb} {group}");
        reader.take(sources + usize::from(more) * 4, "sources")?;
    }
    Ok(())
}

/// Returns whether a datagram between these ports is DHCPv6.
pub(super) fn is_dhcp(ports: [u16; 2]) -> bool {
    ports
        .into_iter()
        .any(|port| matches!(port, CLIENT_PORT | SERVER_PORT))
}

/// Appends what a message of DHCPv6 says.
pub(super) fn dhcp(
    mut payload: &[u8],
    verbose: bool,
    text: &mut String,
) -> Result<(), DecodeError> {
    text.push_str("DHCPv6 ");
    for _ in 0..=MAX_RELAYS {
        let (name, mut reader) = match payload.split_first() {
            Some((12, rest)) => ("RELAY-FORW", Reader::new(rest)),
            Some((13, rest)) => ("RELAY-REPL", Reader::new(rest)),
            _ => break,
        };
        reader.take(1, "hop count")?;
        let link = Ipv6Addr::from(reader.array::<16>("link address")?);
        let peer = Ipv6Addr::from(reader.array::<16>("peer address")?);
        let _ = write!(text, "{name}, link {link}, peer {peer}: ");
        let options = Options(reader.rest());
        payload = options.get(code::RELAY_MESSAGE).unwrap_or_default();
    }
    let message = Message::decode(payload)?;
    let [a, b, c] = message.transaction;
    let _ = write!(
        text,
        "{}, xid {:#08x}",
        message.kind,
        u32::from_be_bytes([0, a, b, c])
    );
    for association in message.options.associations() {
        for given in association.addresses() {
            let _ = write!(text, ", address {} for {} s", given.address, given.valid);
        }
        status(association.options, text);
    }
    status(message.options, text);
    if let Some(file) = Configuration::read(message.options).boot_file {
        let _ = write!(text, ", boot file \"{}\"", Safe::name(&file));
    }
    if verbose {
        for (code, value) in message.options.iter() {
            let _ = write!(text, "\n\t{} ({code}): {}", title(code), shown(code, value));
        }
        text.push_str("\n\t");
    }
    Ok(())
}

fn status(options: Options<'_>, text: &mut String) {
    let status = options.status();
    if status != Status::SUCCESS {
        let _ = write!(text, ", {status}");
    }
}

/// Returns the name of an option, as tshark has it.
const fn title(code: u16) -> &'static str {
    match code {
        code::CLIENT_ID => "Client Identifier",
        code::SERVER_ID => "Server Identifier",
        code::IA_NA => "Identity Association for Non-temporary Address",
        code::OPTION_REQUEST => "Option Request",
        code::PREFERENCE => "Preference",
        code::ELAPSED_TIME => "Elapsed time",
        code::STATUS_CODE => "Status code",
        code::USER_CLASS => "User Class",
        code::VENDOR_CLASS => "Vendor Class",
        code::DNS_SERVERS => "DNS recursive name server",
        code::DOMAIN_LIST => "Domain Search List",
        code::CLIENT_FQDN => "Fully Qualified Domain Name",
        code::NTP_SERVER => "NTP Server",
        code::BOOT_FILE_URL => "Boot File URL",
        code::BOOT_FILE_PARAMETERS => "Boot File Parameters",
        code::CLIENT_ARCHITECTURE => "Client System Architecture Type",
        code::CLIENT_NII => "Client Network Interface Identifier",
        code::SOL_MAX_RT => "SOL_MAX_RT",
        code::INF_MAX_RT => "INF_MAX_RT",
        _ => "Option",
    }
}

fn shown(code: u16, value: &[u8]) -> String {
    let mut words = Vec::new();
    match code {
        code::OPTION_REQUEST | code::CLIENT_ARCHITECTURE => {
            let (numbers, _) = value.as_chunks::<2>();
            for number in numbers {
                words.push(u16::from_be_bytes(*number).to_string());
            }
        }
        code::DNS_SERVERS => {
            let (servers, _) = value.as_chunks::<16>();
            for server in servers {
                words.push(Ipv6Addr::from(*server).to_string());
            }
        }
        code::BOOT_FILE_URL => words.push(Safe::name(String::from_utf8_lossy(value)).to_string()),
        _ => words.push(hex(value)),
    }
    words.join(" ")
}
