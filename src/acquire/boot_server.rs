//! Follows a boot service to the boot file: asks its server, or lets somebody choose from its menu
//! and asks the boot servers for what was chosen.

use std::time::Duration;

use super::binding::Binding;
use super::client_config::client_config;
use super::diagnosis::Discards;
use super::station::{Reception, Station};
use crate::config::{Config, DhcpConfig};
use crate::console::Console;
use crate::error::{Error, Reason};
use crate::link::Link;
use crate::sys::{self, SyscallError};
use wireboot_proto::boot::menu::{Entry, Menu};
use wireboot_proto::boot::{Answer, Outcome};
use wireboot_proto::dhcp::boot_service::{self, BootService, Next};
use wireboot_proto::dhcp::inquiry::{BootQuestion, Event, Inquiry};
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::packet::pxe::{BootItem, MenuItem, MenuPrompt, Pxe};

/// The answer to one question may bring a menu, and that another server; more is a loop.
const MAX_QUESTIONS: usize = 3;
/// A prompt that waits for ever (PXE 2.1, Table 2-1).
const FOR_EVER: u8 = 255;

/// Returns the lease of the configured interface with the boot file that its boot service leads
/// to; as it is when it names one itself, or the user does.
///
/// # Errors
/// [`Reason::NothingBootable`] when no boot server answers, [`Reason::Instead`] when the local disk is
/// chosen.
pub fn boot_file(
    binding: &Binding,
    mut lease: Lease,
    config: &Config,
    console: Console,
) -> Result<Lease, Error> {
    if config.boot.file.is_some() {
        return Ok(lease);
    }
    for _ in 0..MAX_QUESTIONS {
        let link = binding.link();
        let (service, item) = match lease.next_boot_step() {
            Next::Nothing => return Ok(lease),
            Next::Ask(service) => (service, None),
            Next::Choose(service) => (service, Some(choose(service, console)?)),
        };
        log::debug!("{}: asking the boot server {}", link.name, service.server);
        let question = BootQuestion::new(binding.address(), service, item);
        let mut discards = Discards::default();
        let mut event = ask(link, &config.dhcp, question, &mut discards)?;
        if event == Event::Unanswered && item.is_none() && !lease.other_services.is_empty() {
            let mut question = BootQuestion::new(binding.address(), service, None);
            let others = lease.other_services.iter().map(BootService::address);
            question.destinations.extend(others);
            log::warn!(
                "{}: {} says that it boots, and does not answer; asking {} more that say so",
                link.name,
                service.server,
                question.destinations.len() - 1
            );
            // All at once, since any number of them may be made up.
            event = ask(link, &config.dhcp, question, &mut discards)?;
        }
        let Event::Answered(answer) = event else {
            return Err(unanswered(service, item, &discards));
        };
        log::info!("{}: boot server {}", link.name, answer.server);
        lease.adopt_boot(&answer.boot);
        if item.is_some() {
            lease.boot_service = None;
        }
    }
    Ok(lease)
}

fn choose(service: &BootService, console: Console) -> Result<BootItem, Error> {
    let answer = console.menu(menu(&service.pxe)).map_err(system)?;
    let chosen = if let Answer::Chosen { entry, .. } = answer {
        service.pxe.menu.get(entry)
    } else {
        None
    };
    let from = format!("from the boot menu of {}", service.server);
    match chosen {
        Some(item) if item.kind == MenuItem::LOCAL_BOOT => Err(Box::new(Reason::Instead {
            outcome: Outcome::LocalBoot,
            source: format!("\"{}\" was chosen {from}", item.description).into(),
        })),
        Some(item) => Ok(BootItem {
            kind: item.kind,
            // PXE 2.1, option 43 tag 71: layer 0 asks for the bootstrap's first file.
            layer: 0,
        }),
        None => Err(nothing(format!("nothing was chosen {from}"))),
    }
}

/// Without a prompt the menu waits for ever; with one it shows only when a key is pressed in time.
fn menu(pxe: &Pxe) -> Menu {
    let entries = pxe.menu.iter().map(|item| Entry {
        text: item.description.clone(),
        is_choice: true,
        ..Entry::default()
    });
    let timeout = |prompt: &MenuPrompt| {
        let seconds = prompt.timeout_seconds;
        (seconds != FOR_EVER).then(|| Duration::from_secs(seconds.into()))
    };
    Menu {
        title: pxe.prompt.as_ref().map(|prompt| prompt.text.clone()),
        entries: entries.collect(),
        selected: Some(0),
        timeout: pxe.prompt.as_ref().and_then(timeout),
        is_hidden: pxe.prompt.is_some(),
        ..Menu::default()
    }
}

fn ask(
    link: &Link,
    config: &DhcpConfig,
    question: BootQuestion,
    discards: &mut Discards,
) -> Result<Event, Error> {
    let mut station = Station::open(link)?;
    // The address is set, so without a socket the kernel answers ICMP port unreachable.
    station.bind_client_port();
    let mut inquiry = Inquiry::new(client_config(link, config), question, sys::now());
    let mut payload = Vec::new();
    loop {
        let now = sys::now();
        let mut hear = |heard: Reception<'_>| match heard {
            Reception::Arp(_) | Reception::Router(_) => {}
            Reception::Discarded { source, why } => discards.note(&link.name, source, why),
            Reception::Datagram { datagram, .. } => {
                let source = *datagram.source.ip();
                if let Err(discard) = inquiry.handle_input(datagram, now) {
                    discards.note(&link.name, source, discard);
                }
            }
        };
        station.receive(&mut hear).map_err(system)?;
        inquiry.handle_timeout(now);
        while let Some(transmit) = inquiry.poll_transmit(&mut payload) {
            station.send(transmit, &payload);
        }
        if let Some(event) = inquiry.poll_event() {
            return Ok(event);
        }
        let sources: Vec<_> = station.sources().collect();
        sys::wait_readable(&sources, inquiry.poll_timeout()).map_err(system)?;
    }
}

fn unanswered(service: &BootService, item: Option<BootItem>, discards: &Discards) -> Error {
    let mut what = match item {
        None => format!(
            "{} says that it boots, and does not answer on port {}; does that service run, and is \
             the port open?",
            service.server,
            boot_service::PXE_PORT
        ),
        Some(BootItem { kind, .. }) => format!(
            "no boot server of type {kind} answers; {} were asked",
            places(service, kind)
        ),
    };
    if !discards.is_empty() {
        what.push_str(&format!("; {discards}"));
    }
    nothing(what)
}

fn places(service: &BootService, kind: u16) -> String {
    let destinations = service.destinations(kind);
    let destinations = destinations.iter().map(ToString::to_string);
    destinations.collect::<Vec<_>>().join(", ")
}

fn nothing(what: String) -> Error {
    Box::new(Reason::NothingBootable { what, source: None })
}

fn system(source: SyscallError) -> Error {
    Box::new(Reason::System {
        doing: "cannot ask boot servers".to_owned(),
        source,
    })
}
