//! The whole boot, step by step; each consumes what the one before produced.

#![forbid(unsafe_code)]

use crate::account;
use crate::acquire::{self, Binding};
use crate::config::{Config, Step};
use crate::console::Console;
use crate::error::Error;
use crate::fetch::{self, Fetcher};
use crate::image::Image;
use crate::link;
use crate::measure::Measurement;
use crate::planning::{self, Outcome};
use crate::recorder;
use crate::sys::signal::Signals;
use crate::trust::Trust;
use wireboot_proto::dhcp::lease::Lease;

/// Boots the machine from the network; returns only when told to stop after a step, or to say why
/// it could not. On failure the network is as it was before.
///
/// # Errors
/// As its steps.
pub fn run(config: &Config) -> Result<Step, Error> {
    account::begin();
    let end = account::save_after(steps(config));
    recorder::save_after(config.output.record.as_deref(), end)
}

fn steps(config: &Config) -> Result<Step, Error> {
    // Before anything is touched: what is wrong with these files is no different with an address.
    let trust = Trust::of(&config.trust)?;
    fetch::check(&config.fetch)?;
    let signals = Signals::open().map_err(|source| Error::System {
        doing: "cannot receive signals".to_owned(),
        source,
    })?;
    if config.boot.stops_after(Step::Link) {
        return link::up(&config.link, Some(&signals)).map(|_| Step::Link);
    }
    let (mut binding, lease) = lease(config, &signals)?;
    account::done("lease");
    log::info!("{}: {lease}", binding.link().name);
    if config.boot.stops_after(Step::Lease) {
        return Ok(Step::Lease);
    }
    match boot(config, &trust, &mut binding, &lease, signals) {
        Ok(step) => {
            binding.settle();
            Ok(step)
        }
        Err(error) => {
            binding.restore();
            Err(error)
        }
    }
}

/// Finds the interfaces, acquires a lease on one of them and configures it.
///
/// # Errors
/// As its steps; the machine's network is then as it was before.
fn lease(config: &Config, signals: &Signals) -> Result<(Binding, Lease), Error> {
    if let Some(lease) = Lease::without_dhcp(&config.dhcp.given) {
        let (link, lease) = acquire::without_dhcp(config, lease, Some(signals))?;
        return Ok((Binding::fixed(link, lease.address), lease));
    }
    let found = link::find(&config.link, Some(signals))?;
    let session = acquire::lease(found, config, Some(signals))?;
    account::extend(session.moments().iter().cloned());
    let (session, lease) = acquire::configure(session)?;
    account::note("address and routes are set");
    Ok((Binding::leased(session, lease.address), lease))
}

/// Goes on from the lease, which is renewed beside all that follows, up to the jump.
fn boot(
    config: &Config,
    trust: &Trust,
    binding: &mut Binding,
    lease: &Lease,
    signals: Signals,
) -> Result<Step, Error> {
    binding.renew(&config.dhcp, signals)?;
    let console = Console::new(config.boot.unattended);
    let lease = &acquire::boot_file(binding, lease.clone(), config, console)?;
    account::done("boot server");
    let link = binding.link();
    let fetcher = Fetcher::new(config, &link.name, lease, trust)?;
    let facts = planning::facts(config, &link.name, link.mac, lease)?;
    let mut outcome = planning::plan(
        facts,
        console,
        |url, purpose| fetcher.get(url, purpose.max_len()),
        |url, file, signature| fetcher.verify(url, file, signature, &trust.keys),
    )?;
    planning::report(config, &outcome.plan, &outcome.notes);
    account::done("plan");
    if config.boot.stops_after(Step::Plan) {
        return Ok(Step::Plan);
    }
    let image = image(&mut outcome, &fetcher)?;
    account::done("fetch");
    if config.boot.stops_after(Step::Image) {
        return Ok(Step::Image);
    }
    for Measurement { part, sha256, .. } in image.measure()? {
        account::note(format!("{part}: SHA-256 {sha256}"));
    }
    account::done("measure");
    image.load()?;
    account::done("load");
    log::info!("{}", account::summary());
    if config.boot.stops_after(Step::Load) {
        return Ok(Step::Load);
    }
    let kernel = &outcome.plan.kernel.url;
    log::info!("starting {kernel} with \"{}\"", image.command_line);
    account::note("kexec");
    account::save();
    recorder::save_after(config.output.record.as_deref(), Ok(()))?;
    binding.settle();
    binding.link().quiesce();
    image.start().map(|never| match never {})
}

fn image(outcome: &mut Outcome, fetcher: &Fetcher) -> Result<Image, Error> {
    let Outcome { plan, files, .. } = outcome;
    for (part, purpose) in plan.parts() {
        if files.get(&part.url).is_none() {
            files.add(&part.url, fetcher.need(&part.url, purpose.max_len())?);
        }
    }
    Image::assemble(plan, |url| files.get(url))
}
