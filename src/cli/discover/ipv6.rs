//! What routers and servers of IPv6 say, as lines for people and as JSON for programs.

use std::fmt::Write;

use serde::Serialize;

use crate::acquire::{Heard6, Surveyed6};
use wireboot_proto::ipv6::facts::{self, Fact};
use wireboot_proto::packet::dhcpv6::{Message, MessageType};
use wireboot_proto::packet::icmpv6::Advertisement;

/// The fields of JSON; the reference documents them.
#[derive(Serialize)]
pub(super) struct Report6 {
    #[serde(skip)]
    pub(super) interfaces: Vec<Surveyed6>,
    ipv6: Vec<Sayer>,
}

/// A router or server.
#[derive(Serialize)]
struct Sayer {
    interface: String,
    /// "router", or the message of a server: "ADVERTISE", or "REPLY" to a question for configuration alone.
    kind: String,
    source: String,
    after_ms: u64,
    says: Vec<Fact>,
}

impl Report6 {
    /// Reads what was heard.
    pub(super) fn read(interfaces: Vec<Surveyed6>) -> Self {
        let mut ipv6 = Vec::new();
        for one in &interfaces {
            for heard in &one.heard {
                if let Some((kind, says)) = read(heard) {
                    ipv6.push(Sayer {
                        interface: one.interface.clone(),
                        kind,
                        source: heard.source.to_string(),
                        after_ms: u64::try_from(heard.after.as_millis()).unwrap_or(u64::MAX),
                        says,
                    });
                }
            }
        }
        Self { interfaces, ipv6 }
    }

    /// Returns whether nobody has said anything.
    pub(super) const fn is_empty(&self) -> bool {
        self.ipv6.is_empty()
    }

    /// Returns a line for each router and server, with indented ones for what they say.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for one in &self.ipv6 {
            let (interface, kind, source) = (&one.interface, &one.kind, &one.source);
            let _ = writeln!(
                text,
                "{interface}: {kind} of {source} after {} ms",
                one.after_ms
            );
            for Fact { name, value } in &one.says {
                let _ = writeln!(text, "   {name} {value}");
            }
            if one.says.iter().any(|fact| fact.value == "addresses") && !self.offers(interface) {
                text.push_str("   ! no server offers an address\n");
            }
        }
        text
    }

    /// Returns whether a server offers an address on an interface.
    fn offers(&self, interface: &str) -> bool {
        let mut all = self.ipv6.iter().filter(|one| one.interface == interface);
        all.any(|one| one.says.iter().any(|fact| fact.name == "address"))
    }
}

fn read(heard: &Heard6) -> Option<(String, Vec<Fact>)> {
    if heard.is_router {
        let read = Advertisement::decode(&heard.message).ok()?;
        return Some(("router advertisement".to_owned(), facts::of_router(&read)));
    }
    let message = Message::decode(&heard.message).ok()?;
    let is_answer = [MessageType::ADVERTISE, MessageType::REPLY].contains(&message.kind);
    is_answer.then(|| (message.kind.to_string(), facts::of_dhcp(message.options)))
}
