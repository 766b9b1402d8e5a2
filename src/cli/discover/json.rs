//! Answers for programs; the README documents the fields.

use serde::Serialize;

use super::{AnswerRow, table};
use crate::acquire::Surveyed;
use wireboot_proto::dhcp::json::LeaseFields;
use wireboot_proto::packet::pxe::Pxe;

#[derive(Serialize)]
struct Report<'a> {
    interfaces: Vec<JsonInterface<'a>>,
    answers: Vec<Answer<'a>>,
}

#[derive(Serialize)]
struct JsonInterface<'a> {
    name: &'a str,
    mac: String,
    carrier: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
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

pub(super) fn text(surveyed: &[Surveyed], rows: &[AnswerRow<'_>]) -> String {
    let report = Report {
        interfaces: surveyed.iter().map(interface).collect(),
        answers: rows.iter().map(answer).collect(),
    };
    // Strings, numbers and lists of them always have a form in JSON.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}

fn interface(surveyed: &Surveyed) -> JsonInterface<'_> {
    JsonInterface {
        name: &surveyed.link.name,
        mac: surveyed.link.mac.to_string(),
        carrier: surveyed.had_carrier,
    }
}

fn answer<'a>(row: &'a AnswerRow<'_>) -> Answer<'a> {
    let answer = row.answer;
    let asked = answer.asked.as_ref();
    Answer {
        interface: row.interface,
        kind: table::kind(answer),
        entry: asked.and_then(|asked| asked.entry.as_deref()),
        source: answer.source.ip().to_string(),
        sender: answer.sender.to_string(),
        relay: answer.relay.map(|relay| relay.to_string()),
        after_ms: u64::try_from(answer.after.as_millis()).unwrap_or(u64::MAX),
        chosen: row.verdict.is_chosen,
        why: &row.verdict.why,
        suspicions: &row.suspicions,
        pxe: table::pxe(&row.lease).map(PxeFields::from),
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
