//! The answers as text for people, and as JSON for programs: those of DHCP as a table, and what routers and
//! servers of IPv6 say as lines.

use std::fmt::Write;
use std::net::Ipv4Addr;

use serde::Serialize;

use crate::acquire::{Heard6, Surveyed, Surveyed6};
use crate::cli::lease::options;
use wireboot_proto::dhcp::json::LeaseFields;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::dhcp::survey::{OfferVerdict, SurveyAnswer};
use wireboot_proto::ipv6::facts::{self, Fact};
use wireboot_proto::packet::dhcpv6::{Message, MessageType};
use wireboot_proto::packet::icmpv6::Advertisement;
use wireboot_proto::packet::option::code;
use wireboot_proto::packet::pxe::Pxe;
use wireboot_proto::switch::SwitchEvent;
use wireboot_proto::text::safe::Safe;

/// An answer with the verdict on it.
pub(super) struct AnswerRow<'a> {
    pub(super) interface: &'a str,
    pub(super) answer: &'a SurveyAnswer,
    /// The lease that would be granted.
    pub(super) lease: Lease,
    pub(super) verdict: OfferVerdict,
    pub(super) suspicions: Vec<String>,
}

/// The kind of an answer that offers an address.
const DHCP: &str = "dhcp";

/// A column: its title and its value in a row.
type Column = (&'static str, fn(&AnswerRow<'_>) -> String);

/// A column without any value is left out.
const COLUMNS: &[Column] = &[
    ("", mark),
    ("INTERFACE", |row| row.interface.to_owned()),
    ("SERVER", |row| row.answer.offer.server.to_string()),
    ("RELAY", |row| address(row.answer.relay)),
    ("FROM", |row| row.answer.sender.to_string()),
    ("OFFERS", offer),
    ("FOR", lease_time),
    ("ROUTER", router),
    ("BOOT FILE", |row| {
        row.answer.offer.boot.boot_file.clone().unwrap_or_default()
    }),
    ("NEXT SERVER", next_server),
    ("CLASS", class),
    ("MENU", menu),
    ("AFTER", |row| {
        let tenths = row.answer.after.as_micros() / 100;
        format!("{}.{} ms", tenths / 10, tenths % 10)
    }),
    ("WHY", |row| row.verdict.why.clone()),
];

/// Returns the table and the suspicions below it, or where it is wider than `width` a block for each
/// answer; and on request the options of each answer.
pub(super) fn text(rows: &[AnswerRow<'_>], shows_options: bool, width: Option<usize>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = table(rows);
    let widest = text.lines().map(|line| line.chars().count()).max();
    if width.is_some_and(|width| widest > Some(width)) {
        text = rows
            .iter()
            .map(|row| block(row, width.unwrap_or_default()))
            .collect();
    } else {
        for row in rows {
            for suspicion in &row.suspicions {
                let (interface, server) = (row.interface, row.answer.offer.server);
                let suspicion = Safe::line(suspicion);
                text.push_str(&format!("! {interface}: {server} {suspicion}\n"));
            }
        }
    }
    for row in rows.iter().filter(|_| shows_options) {
        let lease = &row.lease;
        text.push_str(&format!(
            "\n{} {}\n",
            row.interface, row.answer.offer.server
        ));
        text.push_str(&options(lease));
    }
    text
}

fn table(rows: &[AnswerRow<'_>]) -> String {
    let mut lines = vec![String::new(); rows.len() + 1];
    for (title, value) in COLUMNS {
        let values: Vec<_> = rows
            .iter()
            .map(|row| Safe::name(value(row)).to_string())
            .collect();
        if values.iter().all(String::is_empty) {
            continue;
        }
        let cells: Vec<_> = std::iter::once((*title).to_owned()).chain(values).collect();
        let width = cells.iter().map(|cell| cell.chars().count()).max();
        let width = width.unwrap_or_default();
        for (line, cell) in lines.iter_mut().zip(cells) {
            line.push_str(&format!("{cell:<width$}  "));
        }
    }
    let lines = lines.iter().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

/// Returns a line for each interface whose switch has said where it is plugged in, or on which tags were
/// seen.
pub(super) fn places(surveyed: &[Surveyed]) -> String {
    let mut text = String::new();
    for one in surveyed {
        let tags: Vec<_> = one.vlans().iter().map(ToString::to_string).collect();
        let tags = (!tags.is_empty()).then(|| format!("VLANs on the wire: {}", tags.join(",")));
        let place = one.neighbour().map(ToString::to_string);
        let parts: Vec<_> = place.into_iter().chain(tags).collect();
        if !parts.is_empty() {
            let line = format!("{}: {}", one.link.name, parts.join("; "));
            text.push_str(&format!("{}\n", Safe::line(line)));
        }
    }
    text
}

/// Columns before a value in a block.
const INDENT: usize = 16;

/// Returns a text in lines of `width` columns, of whole words, each but the first indented.
fn wrapped(text: &str, width: usize) -> String {
    let room = width.saturating_sub(INDENT).max(INDENT);
    let mut lines = String::new();
    let mut len = 0;
    for word in text.split(' ') {
        let word_len = word.chars().count();
        if len > 0 && len + 1 + word_len > room {
            lines.push_str(&format!("\n{:INDENT$}", ""));
            len = 0;
        } else if len > 0 {
            lines.push(' ');
            len += 1;
        }
        lines.push_str(word);
        len += word_len;
    }
    lines
}

/// Returns a line for each value of an answer, and its suspicions.
fn block(row: &AnswerRow<'_>, width: usize) -> String {
    let mut text = String::new();
    for (title, value) in COLUMNS {
        let value = Safe::name(value(row)).to_string();
        let mark = mark(row);
        match *title {
            "" => {}
            "INTERFACE" => text.push_str(&format!("{mark:<2} {value}")),
            "SERVER" => text.push_str(&format!(": {value}\n")),
            _ if value.is_empty() => {}
            title => text.push_str(&format!("   {title:<12} {}\n", wrapped(&value, width))),
        }
    }
    for suspicion in &row.suspicions {
        let suspicion = Safe::line(suspicion).to_string();
        text.push_str(&format!("   {:<12} {}\n", "!", wrapped(&suspicion, width)));
    }
    text
}

fn mark(row: &AnswerRow<'_>) -> String {
    let chosen = if row.verdict.is_chosen { "*" } else { "" };
    let suspicious = if row.suspicions.is_empty() { "" } else { "!" };
    format!("{chosen}{suspicious}")
}

fn offer(row: &AnswerRow<'_>) -> String {
    let lease = &row.lease;
    match kind(row.answer) {
        DHCP => format!("{}/{}", lease.address, lease.prefix_len),
        kind => kind.to_owned(),
    }
}

/// Returns the kind of server that an answer is from.
fn kind(answer: &SurveyAnswer) -> &'static str {
    if answer.asked.is_some() {
        "boot service"
    } else if answer.offer.is_proxy() {
        "proxy"
    } else {
        DHCP
    }
}

fn lease_time(row: &AnswerRow<'_>) -> String {
    match row.lease.times {
        _ if kind(row.answer) != DHCP => String::new(),
        None => "ever".to_owned(),
        Some(times) => format!("{} s", times.lease.as_secs()),
    }
}

fn router(row: &AnswerRow<'_>) -> String {
    let mut routes = row.lease.routes.iter();
    address(routes.find_map(|route| route.gateway.filter(|_| route.prefix_len == 0)))
}

fn next_server(row: &AnswerRow<'_>) -> String {
    let lease = &row.lease;
    match (lease.next_server, &lease.server_name) {
        (Some(server), Some(name)) if *name != server.to_string() => format!("{server} ({name})"),
        (Some(server), _) => server.to_string(),
        (None, name) => name.clone().unwrap_or_default(),
    }
}

fn class(row: &AnswerRow<'_>) -> String {
    let class = row.lease.options.text(code::VENDOR_CLASS);
    class.unwrap_or_default().to_owned()
}

/// Returns a summary of the boot menu in option 43, or the entry that a boot service was asked for.
fn menu(row: &AnswerRow<'_>) -> String {
    let asked = row.answer.asked.as_ref();
    if let Some(entry) = asked.and_then(|asked| asked.entry.as_ref()) {
        return entry.clone();
    }
    let Some(pxe) = pxe(&row.lease) else {
        return String::new();
    };
    let mut parts: Vec<_> = pxe
        .menu
        .iter()
        .map(|item| item.description.clone())
        .collect();
    parts.extend(pxe.prompt.map(|prompt| match prompt.timeout_seconds {
        // PXE 2.1, Table 2-1: 255 means no timeout.
        255 => format!("\"{}\" for ever", prompt.text),
        seconds => format!("\"{}\" for {seconds} s", prompt.text),
    }));
    parts.extend(
        pxe.discovery_group
            .map(|group| format!("servers by {group}")),
    );
    parts.join(", ")
}

/// Returns option 43 of a PXE server.
fn pxe(lease: &Lease) -> Option<Pxe> {
    let options = &lease.options;
    let class = options.get(code::VENDOR_CLASS)?;
    class
        .starts_with(b"PXEClient")
        .then(|| options.get(code::VENDOR_SPECIFIC))?
        .map(Pxe::read)
}

fn address(address: Option<Ipv4Addr>) -> String {
    address.map_or_else(String::new, |address| address.to_string())
}

#[derive(Serialize)]
struct DiscoverReport<'a> {
    interfaces: Vec<JsonInterface<'a>>,
    answers: Vec<JsonAnswer<'a>>,
    #[serde(flatten)]
    six: Option<&'a Report6>,
}

#[derive(Serialize)]
struct JsonInterface<'a> {
    name: &'a str,
    mac: String,
    carrier: bool,
    vlans: &'a [u16],
    switch: Option<JsonSwitch<'a>>,
}

#[derive(Serialize)]
struct JsonSwitch<'a> {
    system: &'a str,
    port: &'a str,
    vlan: Option<u16>,
}

#[derive(Serialize)]
struct JsonAnswer<'a> {
    interface: &'a str,
    /// "dhcp", "proxy" or "boot service".
    kind: &'static str,
    entry: Option<&'a str>,
    source: String,
    sender: String,
    relay: Option<String>,
    after_ms: u64,
    chosen: bool,
    why: &'a str,
    suspicions: &'a [String],
    pxe: Option<PxeFields>,
    #[serde(flatten)]
    lease: LeaseFields<'a>,
}

#[derive(Serialize)]
struct PxeFields {
    discovery_control: Option<u8>,
    discovery_group: Option<String>,
    boot_servers: Vec<JsonBootServers>,
    menu: Vec<JsonMenuItem>,
    prompt: Option<Prompt>,
}

#[derive(Serialize)]
struct JsonBootServers {
    kind: u16,
    addresses: Vec<String>,
}

#[derive(Serialize)]
struct JsonMenuItem {
    kind: u16,
    description: String,
}

#[derive(Serialize)]
struct Prompt {
    timeout_seconds: u8,
    text: String,
}

/// Returns the answers for programs; the reference documents the fields.
pub(super) fn json(surveyed: &[Surveyed], rows: &[AnswerRow<'_>], six: Option<&Report6>) -> String {
    let mut interfaces: Vec<_> = surveyed.iter().map(json_interface).collect();
    if let Some(six) = six.filter(|_| interfaces.is_empty()) {
        interfaces.extend(six.interfaces.iter().map(|one| JsonInterface {
            name: &one.interface,
            mac: one.mac.to_string(),
            carrier: one.had_carrier,
            vlans: &[],
            switch: None,
        }));
    }
    let report = DiscoverReport {
        interfaces,
        answers: rows.iter().map(json_answer).collect(),
        six,
    };
    // Strings, numbers and lists of them always have a form in JSON.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}

fn json_interface(surveyed: &Surveyed) -> JsonInterface<'_> {
    JsonInterface {
        name: &surveyed.link.name,
        mac: surveyed.link.mac.to_string(),
        carrier: surveyed.had_carrier,
        vlans: surveyed.vlans(),
        switch: match surveyed.neighbour() {
            Some(SwitchEvent::Neighbour { system, port, vlan }) => Some(JsonSwitch {
                system,
                port,
                vlan: *vlan,
            }),
            Some(_) | None => None,
        },
    }
}

fn json_answer<'a>(row: &'a AnswerRow<'_>) -> JsonAnswer<'a> {
    let answer = row.answer;
    let asked = answer.asked.as_ref();
    JsonAnswer {
        interface: row.interface,
        kind: kind(answer),
        entry: asked.and_then(|asked| asked.entry.as_deref()),
        source: answer.source.ip().to_string(),
        sender: answer.sender.to_string(),
        relay: answer.relay.map(|relay| relay.to_string()),
        after_ms: u64::try_from(answer.after.as_millis()).unwrap_or(u64::MAX),
        chosen: row.verdict.is_chosen,
        why: &row.verdict.why,
        suspicions: &row.suspicions,
        pxe: pxe(&row.lease).map(PxeFields::from),
        lease: LeaseFields::from(&row.lease),
    }
}

impl From<Pxe> for PxeFields {
    fn from(pxe: Pxe) -> Self {
        let boot_servers = pxe.boot_servers.iter().map(|servers| JsonBootServers {
            kind: servers.kind,
            addresses: servers.addresses.iter().map(ToString::to_string).collect(),
        });
        let menu = pxe.menu.into_iter().map(|item| JsonMenuItem {
            kind: item.kind,
            description: item.description,
        });
        Self {
            discovery_control: pxe.discovery_control.map(|control| control.0),
            discovery_group: pxe.discovery_group.map(|group| group.to_string()),
            boot_servers: boot_servers.collect(),
            menu: menu.collect(),
            prompt: pxe.prompt.map(|prompt| Prompt {
                timeout_seconds: prompt.timeout_seconds,
                text: prompt.text,
            }),
        }
    }
}

/// The fields of JSON; the reference documents them.
#[derive(Serialize)]
pub(super) struct Report6 {
    #[serde(skip)]
    interfaces: Vec<Surveyed6>,
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
