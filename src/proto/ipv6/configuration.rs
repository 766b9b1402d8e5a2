//! What a server says beside addresses: resolvers, domains, the boot file.

use crate::prelude::*;
use core::net::Ipv6Addr;

use super::address;
use crate::packet::dhcpv6::{Options, code, counted_texts};
use crate::packet::icmpv6::domains;
use crate::text::names::text;

/// So many resolvers, domains and parameters of a boot file are used.
const MAX_ITEMS: usize = 16;

/// The address of a time server in option 56 (RFC 5908 §4.1).
const NTP_SUBOPTION_SRV_ADDR: u16 = 1;

/// Configuration of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configuration {
    /// Resolvers (option 23).
    pub dns: Vec<Ipv6Addr>,
    /// Time servers (options 56 and 31).
    pub time_servers: Vec<Ipv6Addr>,
    /// Domains that names are looked up in (option 24).
    pub search: Vec<String>,
    /// Where a captive portal is asked about (option 103).
    pub captive_portal: Option<String>,
    /// URL of the boot file (option 59).
    pub boot_file: Option<String>,
    /// Parameters of the boot file (option 60).
    pub boot_parameters: Vec<String>,
}

impl Configuration {
    /// Reads what is valid in the options of a message.
    pub fn read(options: Options<'_>) -> Self {
        let value = |code| options.get(code).unwrap_or_default();
        let mut read = Self {
            dns: Vec::new(),
            time_servers: Vec::new(),
            search: domains(value(code::DOMAIN_LIST)),
            captive_portal: text(value(code::CAPTIVE_PORTAL)),
            boot_file: text(value(code::BOOT_FILE_URL)),
            boot_parameters: Vec::new(),
        };
        read.search.truncate(MAX_ITEMS);
        add_servers(&mut read.dns, value(code::DNS_SERVERS));
        // Of the kinds of RFC 5908 §4, those that are addresses; RFC 4075 has an older list.
        for (kind, server) in Options(value(code::NTP_SERVER)).iter() {
            if kind == NTP_SUBOPTION_SRV_ADDR {
                add_servers(&mut read.time_servers, server);
            }
        }
        add_servers(&mut read.time_servers, value(code::SNTP_SERVERS));
        let parameters = value(code::BOOT_FILE_PARAMETERS);
        // Servers for Windows send one text without the lengths of RFC 5970 §3.2.
        let parameters = counted_texts(parameters).unwrap_or_else(|| vec![parameters]);
        for parameter in parameters.into_iter().filter_map(text) {
            if read.boot_parameters.len() < MAX_ITEMS {
                read.boot_parameters.push(parameter);
            }
        }
        read
    }

    /// Adds what another server says and this one does not.
    pub fn add(&mut self, other: &Self) {
        for (own, others) in [
            (&mut self.dns, &other.dns),
            (&mut self.time_servers, &other.time_servers),
        ] {
            for server in others {
                if !own.contains(server) {
                    own.push(*server);
                }
            }
        }
        for domain in &other.search {
            if !self.search.contains(domain) {
                self.search.push(domain.clone());
            }
        }
        if self.captive_portal.is_none() {
            self.captive_portal.clone_from(&other.captive_portal);
        }
        // Parameters are those of their own boot file.
        if self.boot_file.is_none() {
            self.boot_file.clone_from(&other.boot_file);
            self.boot_parameters.clone_from(&other.boot_parameters);
        }
    }
}

/// Adds the addresses of a list; those behind the last whole one are left out.
fn add_servers(to: &mut Vec<Ipv6Addr>, list: &[u8]) {
    let (servers, _) = list.as_chunks::<16>();
    for server in servers {
        let server = Ipv6Addr::from(*server);
        if address::is_host(server) && to.len() < MAX_ITEMS && !to.contains(&server) {
            to.push(server);
        }
    }
}
