//! What a server says beside addresses: resolvers, domains, the boot file.

use crate::prelude::*;
use core::net::Ipv6Addr;

use super::address;
use crate::packet::dhcpv6::{Options, code, counted_texts};
use crate::packet::neighbor::domains;
use crate::text::names;

/// So many resolvers, domains and parameters of a boot file are used.
const MAX_ITEMS: usize = 16;

/// Configuration of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configuration {
    /// Resolvers (option 23).
    pub dns: Vec<Ipv6Addr>,
    /// Domains that names are looked up in (option 24).
    pub search: Vec<String>,
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
            search: domains(value(code::DOMAIN_LIST)),
            boot_file: text(value(code::BOOT_FILE_URL)),
            boot_parameters: Vec::new(),
        };
        read.search.truncate(MAX_ITEMS);
        // Those behind the last whole one are left out.
        let (servers, _) = value(code::DNS_SERVERS).as_chunks::<16>();
        for server in servers {
            let server = Ipv6Addr::from(*server);
            if address::is_host(server) && read.dns.len() < MAX_ITEMS {
                read.dns.push(server);
            }
        }
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
        for server in &other.dns {
            if !self.dns.contains(server) {
                self.dns.push(*server);
            }
        }
        for domain in &other.search {
            if !self.search.contains(domain) {
                self.search.push(domain.clone());
            }
        }
        // Parameters are those of their own boot file.
        if self.boot_file.is_none() {
            self.boot_file.clone_from(&other.boot_file);
            self.boot_parameters.clone_from(&other.boot_parameters);
        }
    }
}

/// Reads a text, without a NUL at its end; none if it is empty or has control characters.
fn text(bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|byte| *byte == 0).next()?;
    let text = names::trimmed(core::str::from_utf8(text).ok()?);
    names::is_path(text).then(|| text.to_owned())
}
