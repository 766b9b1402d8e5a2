//! IPv6 in a line: neighbour discovery, groups (MLD) and DHCPv6.

use std::fmt::Write;
use std::net::Ipv6Addr;

use wireboot_proto::ipv6::facts::{self, Fact};
use wireboot_proto::packet::dhcpv6::{CLIENT_PORT, Message, Options, SERVER_PORT, code};
use wireboot_proto::packet::icmpv6::{
    Advertisement, NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION, NeighborMessage,
    ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION,
};
use wireboot_proto::reader::{DecodeError, Reader};

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
    text.push_str("router advertisement");
    put(
        facts::of_router(&Advertisement::decode(message)?),
        verbose,
        text,
    );
    Ok(())
}

/// Appends what is said, with `verbose` a line for each.
fn put(facts: Vec<Fact>, verbose: bool, text: &mut String) {
    let separator = if verbose { "\n\t" } else { ", " };
    for fact in facts {
        let _ = write!(text, "{separator}{} {}", fact.name, fact.value);
    }
    if verbose {
        text.push_str("\n\t");
    }
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
    put(facts::of_dhcp(message.options), verbose, text);
    Ok(())
}
