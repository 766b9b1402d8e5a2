//! The messages a client sends (RFC 2131 §4.4, Table 5).

use crate::prelude::*;
use core::net::Ipv4Addr;

use super::config::Config;
use crate::packet::dhcp::{Message, MessageType, Op};
use crate::packet::option::{Options, code};
use crate::time::Instant;

/// Largest message accepted (option 57), in bytes: one Ethernet frame.
// 1500 less 20 for IPv4 and 8 for UDP; the minimum is 576 (RFC 2132 §9.10).
const MAX_MESSAGE_SIZE: u16 = 1472;

/// The fields common to the messages of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exchange {
    pub(super) xid: u32,
    /// Seconds since it began.
    pub(super) secs: u16,
    /// Whether servers are to answer by broadcast while there is no address.
    pub(super) broadcast: bool,
}

impl Exchange {
    /// Returns the exchange `xid`, which began at `began_at`.
    pub(super) fn new(xid: u32, began_at: Instant, now: Instant) -> Self {
        // 16 bits are 18 hours; after them it stays, since 0 would mean a new acquisition.
        let secs = u16::try_from(now.since(began_at).as_secs()).unwrap_or(u16::MAX);
        Self {
            xid,
            secs,
            broadcast: false,
        }
    }
}

/// Returns a DISCOVER.
pub(super) fn discover(config: &Config, exchange: Exchange) -> Message {
    let mut message = asking(config, exchange, MessageType::Discover);
    message.broadcast = exchange.broadcast;
    if config.rapid_commit {
        // RFC 4039 §3.1: only in a DISCOVER; any server may then commit an address.
        message.options.set(code::RAPID_COMMIT, []);
    }
    message
}

/// Returns the INFORM of a host that has `address`.
pub(super) fn inform(config: &Config, exchange: Exchange, address: Ipv4Addr) -> Message {
    let mut message = asking(config, exchange, MessageType::Inform);
    // RFC 2131 §4.3.5: the answer to an INFORM goes to `ciaddr`.
    message.ciaddr = address;
    message
}

/// Returns the REQUEST for the offer of `server`.
pub(super) fn request_offered(
    config: &Config,
    exchange: Exchange,
    address: Ipv4Addr,
    server: Ipv4Addr,
) -> Message {
    // RFC 2131 §4.3.2: requested address and server identifier, and no `ciaddr`, mean SELECTING.
    let mut message = request_known(config, exchange, address);
    message
        .options
        .set(code::SERVER_IDENTIFIER, server.octets());
    message
}

/// Returns the REQUEST for a previous address: INIT-REBOOT.
pub(super) fn request_known(config: &Config, exchange: Exchange, address: Ipv4Addr) -> Message {
    // RFC 2131 §4.3.2: a server identifier would make it an answer to an offer (SELECTING).
    let mut message = asking(config, exchange, MessageType::Request);
    message.broadcast = exchange.broadcast;
    message
        .options
        .set(code::REQUESTED_ADDRESS, address.octets());
    message
}

/// Returns the REQUEST that extends the lease of `address`: RENEWING and REBINDING.
pub(super) fn request_extension(config: &Config, exchange: Exchange, address: Ipv4Addr) -> Message {
    // RFC 2131 §4.3.2: `ciaddr` alone; a requested address would make it INIT-REBOOT.
    let mut message = asking(config, exchange, MessageType::Request);
    message.ciaddr = address;
    message
}

/// Returns the DECLINE of an address that another host uses.
pub(super) fn decline(
    config: &Config,
    exchange: Exchange,
    address: Ipv4Addr,
    server: Ipv4Addr,
) -> Message {
    // RFC 2131 Table 5: `ciaddr` must be 0, since the address was never used.
    let mut message = bare(config, exchange, MessageType::Decline);
    message
        .options
        .set(code::REQUESTED_ADDRESS, address.octets());
    message
        .options
        .set(code::SERVER_IDENTIFIER, server.octets());
    message
}

/// Returns the RELEASE of `address`.
pub(super) fn release(
    config: &Config,
    exchange: Exchange,
    address: Ipv4Addr,
    server: Ipv4Addr,
) -> Message {
    // RFC 2131 Table 5: with the address in `ciaddr`, and without option 50.
    let mut message = bare(config, exchange, MessageType::Release);
    message.ciaddr = address;
    message
        .options
        .set(code::SERVER_IDENTIFIER, server.octets());
    message
}

fn asking(config: &Config, exchange: Exchange, message_type: MessageType) -> Message {
    let mut message = bare(config, exchange, message_type);
    for (code, value) in &config.identity {
        message.options.set(*code, value.as_slice());
    }
    message
        .options
        .set(code::PARAMETER_REQUEST_LIST, config.requested.as_slice());
    message
        .options
        .set(code::MAX_MESSAGE_SIZE, MAX_MESSAGE_SIZE.to_be_bytes());
    message
}

fn bare(config: &Config, exchange: Exchange, message_type: MessageType) -> Message {
    let mut options = Options::default();
    options.set(code::MESSAGE_TYPE, [u8::from(message_type)]);
    // The only other option of a DECLINE or RELEASE (RFC 2131 Table 5).
    for (code, value) in &config.identity {
        if *code == code::CLIENT_IDENTIFIER {
            options.set(*code, value.as_slice());
        }
    }
    Message {
        op: Op::BootRequest,
        xid: exchange.xid,
        secs: exchange.secs,
        // The packet socket receives unicast replies before the address is set. With `ciaddr` the
        // flag means nothing (RFC 2131 §4.1), and DECLINE and RELEASE are not answered.
        broadcast: false,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::UNSPECIFIED,
        siaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: Ipv4Addr::UNSPECIFIED,
        chaddr: config.chaddr,
        sname: Vec::new(),
        file: Vec::new(),
        options,
    }
}
