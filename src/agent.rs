//! The whole boot, step by step; each consumes what the one before produced.

#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::account::{self, Account};
use crate::acquire;
use crate::config::{Config, Step};
use crate::console::Console;
use crate::dhcp::lease::Lease;
use crate::error::Error;
use crate::fetch::{Board, Clock, Fetcher, Style};
use crate::handover;
use crate::image::Image;
use crate::link::{self, Link};
use crate::measure::Measurement;
use crate::planning::{self, Outcome};
use crate::recorder;
use crate::trust::Trust;
use crate::verify::Keys;
use crate::wire::option::code;

/// Boots the machine from the network; returns only when told to stop after a step, or to say why
/// it could not. On failure the network is as it was before.
///
/// # Errors
/// As its steps.
pub fn run(config: &Config) -> Result<Step, Error> {
    recorder::save_after(config.record.as_deref(), steps(config))
}

fn steps(config: &Config) -> Result<Step, Error> {
    let mut account = Account::begin();
    let end = follow(config, &mut account);
    match &end {
        Ok(step) => account.note(format!("stopped after {step:?}")),
        Err(error) => account.note(error.chain()),
    }
    leave(&account);
    end
}

/// Puts the account where `wireboot account` finds it; where it cannot be put it is missed by nobody.
pub fn leave(account: &Account) {
    for (path, text) in [
        (account::JSON, account.json()),
        (account::TEXT, account.text()),
    ] {
        if let Err(error) = handover::replace(Path::new(path), &text) {
            log::debug!("{path} is not written: {error}");
        }
    }
}

fn follow(config: &Config, account: &mut Account) -> Result<Step, Error> {
    if config.stops_after(Step::Link) {
        return link::up(config).map(|_| Step::Link);
    }
    let (link, lease) = lease(config, account)?;
    account.done("lease");
    log::info!("{}: {lease}", link.name);
    boot(config, &link, &lease, account).inspect_err(|_| {
        handover::remove(&link.name);
        link.restore();
    })
}

/// Finds the interfaces, acquires a lease on one of them and configures it.
///
/// # Errors
/// As its steps; the machine's network is then as it was before.
fn lease(config: &Config, account: &mut Account) -> Result<(Link, Lease), Error> {
    if let Some(lease) = Lease::without_dhcp(&config.given) {
        return acquire::without_dhcp(config, lease);
    }
    let session = acquire::lease(link::find(config)?, config, None)?;
    account.extend(session.moments().iter().cloned());
    let (session, lease) = acquire::configure(session)?;
    account.note("address and routes are set");
    Ok((session.into_link(), lease))
}

fn boot(config: &Config, link: &Link, lease: &Lease, account: &mut Account) -> Result<Step, Error> {
    if config.stops_after(Step::Lease) {
        return Ok(Step::Lease);
    }
    let console = Console::new(config.unattended);
    let lease = &acquire::boot_file(link, lease.clone(), config, console)?;
    account.done("boot server");
    let trust = Trust::of(config)?;
    let fetcher = Fetcher {
        interface: Some(link.name.clone()),
        path_mtu: lease.mtu_octets.unwrap_or(1500),
        ca: config.ca.as_ref().map(PathBuf::from),
        client_certificate: config.certificate.as_ref().map(PathBuf::from),
        clock: Clock::of(time_servers(lease)),
        keys: trust.demanded(),
        policy: trust.policy,
        board: Board::new(Style::for_people(config.quiet)),
        ..Fetcher::default()
    };
    let mut outcome = plan(config, link, lease, console, &fetcher, account)?;
    account.done("plan");
    if config.stops_after(Step::Plan) {
        return Ok(Step::Plan);
    }
    let image = image(&mut outcome, &fetcher, &trust.keys, account)?;
    account.done("fetch");
    if config.stops_after(Step::Image) {
        return Ok(Step::Image);
    }
    for Measurement { part, sha256, .. } in image.measure()? {
        account.note(format!("{part}: SHA-256 {sha256}"));
    }
    account.done("measure");
    image.load()?;
    account.done("load");
    log::info!("{account}");
    if config.stops_after(Step::Load) {
        return Ok(Step::Load);
    }
    let kernel = &outcome.plan.kernel.url;
    log::info!("starting {kernel} with \"{}\"", image.command_line);
    account.note("kexec");
    leave(account);
    recorder::save_after(config.record.as_deref(), Ok(()))?;
    link.quiesce();
    image.start().map(|never| match never {})
}

fn time_servers(lease: &Lease) -> Vec<IpAddr> {
    let servers = lease.options.addresses(code::NTP_SERVERS);
    servers.into_iter().map(IpAddr::from).collect()
}

fn plan(
    config: &Config,
    link: &Link,
    lease: &Lease,
    console: Console,
    fetcher: &Fetcher,
    account: &mut Account,
) -> Result<Outcome, Error> {
    let facts = planning::facts(config, &link.name, link.mac, lease)?;
    let outcome = planning::plan(facts, console, |url, purpose| {
        account.note(format!("{url}: asked for"));
        let got = fetcher.get(url, purpose.max_len());
        account.note(format!(
            "{url}: {}",
            if got.is_ok() { "whole" } else { "failed" }
        ));
        got
    })?;
    planning::report(config, &outcome.plan, &outcome.notes);
    Ok(outcome)
}

fn image(
    outcome: &mut Outcome,
    fetcher: &Fetcher,
    keys: &Keys,
    account: &mut Account,
) -> Result<Image, Error> {
    let Outcome { plan, files, .. } = outcome;
    for (part, purpose) in plan.parts() {
        let file = match files.get(&part.url) {
            Some(file) => file,
            None => {
                account.note(format!("{}: asked for", part.url));
                let file = fetcher.need(&part.url, purpose)?;
                account.note(format!("{}: whole", part.url));
                files.add(&part.url, file)
            }
        };
        if let Some(signature) = &part.signature {
            fetcher.verify(&part.url, &file, signature, keys)?;
        }
    }
    Image::assemble(plan, |url| files.get(url))
}
