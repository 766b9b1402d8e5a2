//! The messages of a client.

use crate::prelude::*;

use super::exchange::Exchange;
use super::identity::Identity;
use super::offer::Offer;
use crate::packet::dhcpv6::{MessageType, begin, code, put};
use crate::time::Instant;

/// What is asked for; 82 and 83 must be (RFC 8415 §18.2.1, §18.2.6).
const REQUESTED: [u16; 9] = [
    code::DNS_SERVERS,
    code::DOMAIN_LIST,
    code::BOOT_FILE_URL,
    code::BOOT_FILE_PARAMETERS,
    code::NTP_SERVER,
    code::SNTP_SERVERS,
    code::SOL_MAX_RT,
    code::INF_MAX_RT,
    code::CAPTIVE_PORTAL,
];

impl Identity {
    /// Returns the message of an exchange that is about `offer`, which began `elapsed` hundredths of a second
    /// ago.
    pub(super) fn message(
        &self,
        exchange: &Exchange,
        elapsed: u16,
        offer: Option<&Offer>,
        now: Instant,
    ) -> Vec<u8> {
        let kind = exchange.kind;
        let mut message = begin(kind, exchange.transaction);
        put(&mut message, code::CLIENT_ID, &self.duid);
        // Others are for every server.
        let is_for_all = [MessageType::REBIND, MessageType::CONFIRM].contains(&kind);
        if let Some(offer) = offer.filter(|_| !is_for_all) {
            put(&mut message, code::SERVER_ID, &offer.server_id);
        }
        put(&mut message, code::ELAPSED_TIME, &elapsed.to_be_bytes());
        let ends_lease = [MessageType::RELEASE, MessageType::DECLINE].contains(&kind);
        if !ends_lease {
            let mut requested = Vec::new();
            for code in REQUESTED {
                requested.extend(code.to_be_bytes());
            }
            // RFC 8415 §21.23.
            if kind == MessageType::INFORMATION_REQUEST {
                requested.extend(code::INFORMATION_REFRESH_TIME.to_be_bytes());
            }
            put(&mut message, code::OPTION_REQUEST, &requested);
        }
        if kind != MessageType::INFORMATION_REQUEST {
            // T1 and T2 are left to the server.
            let mut association = [&self.iaid[..], &[0; 8]].concat();
            for given in offer.map_or_else(Vec::new, |offer| offer.addresses(now)) {
                // Lifetimes, too.
                let mut value = [0; 24];
                if let Some(address) = value.first_chunk_mut() {
                    *address = given.address.octets();
                }
                put(&mut association, code::IA_ADDRESS, &value);
            }
            put(&mut message, code::IA_NA, &association);
        }
        if !ends_lease {
            for (code, value) in &self.options {
                put(&mut message, *code, value);
            }
        }
        message
    }
}
