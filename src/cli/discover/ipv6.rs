//! What routers and servers of IPv6 say, as lines for people and as JSON for programs.

use std::fmt::Write;

use serde::Serialize;

use crate::acquire::{Heard6, Surveyed6};
use wireboot_proto::ipv6::configuration::Configuration;
use wireboot_proto::packet::dhcpv6::{Message, MessageType, Options, Status, code};
use wireboot_proto::packet::neighbor::{Advertisement, RouterOption};
use wireboot_proto::packet::option::known::hex;
use wireboot_proto::text::safe::Safe;

/// The fields of JSON; the reference documents them.
#[derive(Serialize, Default)]
pub(super) struct Report6 {
    #[serde(skip)]
    pub(super) interfaces: Vec<Surveyed6>,
    routers: Vec<JsonRouter>,
    servers: Vec<JsonServer>,
}

#[derive(Serialize)]
struct JsonRouter {
    interface: String,
    router: String,
    managed: bool,
    other: bool,
    lifetime_seconds: u16,
    options: Vec<String>,
    after_ms: u64,
}

#[derive(Serialize)]
struct JsonServer {
    interface: String,
    /// "ADVERTISE", or "REPLY" to a question for configuration alone.
    message: String,
    server: String,
    duid: String,
    /// Null if it is as usual.
    status: Option<String>,
    addresses: Vec<String>,
    preference: u8,
    dns: Vec<String>,
    search: Vec<String>,
    boot_file: Option<String>,
    boot_parameters: Vec<String>,
    after_ms: u64,
}

impl Report6 {
    /// Reads what was heard.
    pub(super) fn read(surveyed: Vec<Surveyed6>) -> Self {
        let mut report = Self::default();
        for one in &surveyed {
            for heard in &one.heard {
                if heard.is_router {
                    report.routers.extend(router(&one.interface, heard));
                } else {
                    report.servers.extend(server(&one.interface, heard));
                }
            }
        }
        report.interfaces = surveyed;
        report
    }

    /// Returns whether nobody has said anything.
    pub(super) const fn is_empty(&self) -> bool {
        self.routers.is_empty() && self.servers.is_empty()
    }

    /// Returns a line for each router and server, with indented ones for what they say.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for one in &self.routers {
            let _ = write!(text, "{}: router {}", one.interface, one.router);
            for (is_set, flag) in [
                (one.managed, ", addresses by servers (M)"),
                (one.other, ", configuration by servers (O)"),
            ] {
                text.push_str(if is_set { flag } else { "" });
            }
            let _ = match one.lifetime_seconds {
                0 => writeln!(text, ", no default router"),
                seconds => writeln!(text, ", default router for {seconds} s"),
            };
            lines(&mut text, "", &one.options);
            let mut servers = self.servers.iter();
            let is_here = |server: &JsonServer| {
                server.interface == one.interface && !server.addresses.is_empty()
            };
            if one.managed && !servers.any(is_here) {
                text.push_str("   ! no server offers an address\n");
            }
        }
        for one in &self.servers {
            let _ = write!(
                text,
                "{}: server {}, {}",
                one.interface, one.server, one.message
            );
            if one.preference > 0 {
                let _ = write!(text, ", preference {}", one.preference);
            }
            let _ = match &one.status {
                Some(status) => writeln!(text, ", {status} after {} ms", one.after_ms),
                None => writeln!(text, " after {} ms", one.after_ms),
            };
            lines(&mut text, "address ", &one.addresses);
            lines(&mut text, "resolver ", &one.dns);
            lines(&mut text, "domain ", &one.search);
            lines(&mut text, "boot file ", one.boot_file.as_slice());
            lines(&mut text, "boot parameter ", &one.boot_parameters);
        }
        text
    }
}

fn lines(text: &mut String, name: &str, values: &[String]) {
    for value in values {
        let _ = writeln!(text, "   {name}{}", Safe::name(value));
    }
}

fn router(interface: &str, heard: &Heard6) -> Option<JsonRouter> {
    let read = Advertisement::decode(&heard.message).ok()?;
    Some(JsonRouter {
        interface: interface.to_owned(),
        router: heard.source.to_string(),
        managed: read.managed,
        other: read.other,
        lifetime_seconds: read.lifetime,
        options: texts(&mut read.options().collect::<Vec<RouterOption>>().iter()),
        after_ms: after_ms(heard),
    })
}

fn server(interface: &str, heard: &Heard6) -> Option<JsonServer> {
    let message = Message::decode(&heard.message).ok()?;
    if !matches!(message.kind, MessageType::ADVERTISE | MessageType::REPLY) {
        return None;
    }
    let options = message.options;
    let configuration = Configuration::read(options);
    let mut status = status(options);
    let mut addresses = Vec::new();
    for association in options.associations() {
        for given in association.addresses() {
            addresses.push(format!("{} for {} s", given.address, given.valid));
        }
        status = status.or_else(|| self::status(association.options));
    }
    Some(JsonServer {
        interface: interface.to_owned(),
        message: message.kind.to_string(),
        server: heard.source.to_string(),
        duid: hex(options.get(code::SERVER_ID)?),
        status,
        addresses,
        preference: *options
            .get(code::PREFERENCE)
            .and_then(<[u8]>::first)
            .unwrap_or(&0),
        dns: texts(&mut configuration.dns.iter()),
        search: configuration.search,
        boot_file: configuration.boot_file,
        boot_parameters: configuration.boot_parameters,
        after_ms: after_ms(heard),
    })
}

fn status(options: Options<'_>) -> Option<String> {
    let status = options.status();
    (status != Status::SUCCESS).then(|| status.to_string())
}

fn texts<T: ToString>(values: &mut dyn Iterator<Item = T>) -> Vec<String> {
    let mut texts = Vec::new();
    for value in values {
        texts.push(value.to_string());
    }
    texts
}

fn after_ms(heard: &Heard6) -> u64 {
    u64::try_from(heard.after.as_millis()).unwrap_or(u64::MAX)
}
