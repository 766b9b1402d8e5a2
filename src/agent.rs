//! The whole boot, step by step; each step consumes what the one before produced.

#![forbid(unsafe_code)]

use std::convert::Infallible;

use crate::acquire::{self, Binding};
use crate::config::{Config, Step};
use crate::console::Console;
use crate::error::Error;
use crate::fetch::{self, Fetcher};
use crate::gate::{Exit, Gate};
use crate::image::Image;
use crate::link;
use crate::measure;
use crate::planning;
use crate::sys::signal::Signals;
use crate::trust::Trust;
use wireboot_proto::dhcp::lease::Lease;

/// Boots the machine from the network; returns only after the step of `--stop-after`.
///
/// # Errors
/// Why a step failed; the network is then as it was before.
pub fn run(config: &Config) -> Result<Step, Error> {
    let gate = Gate::open(config);
    let Err(exit) = boot(config, &gate);
    gate.close_after(exit)
}

fn boot(config: &Config, gate: &Gate) -> Result<Infallible, Exit> {
    // Before anything is touched: a fault in these files is the same with an address.
    let trust = Trust::of(&config.trust)?;
    fetch::check(&config.fetch)?;
    let signals = Signals::open().map_err(Error::no_signals)?;
    if gate.is_last(Step::Link) {
        link::up(&config.link, Some(&signals))?;
    }
    gate.pass(Step::Link)?;
    // Raises the interfaces itself, since it listens on them before they are up.
    let (mut binding, lease) = acquire::bind(config, gate, &signals)?;
    gate.pass(Step::Lease)?;
    let Err(exit) = follow(config, gate, &trust, &mut binding, lease, signals);
    // A step behind the lease was only looked at, and nobody renews the lease from here on.
    binding.restore();
    Err(exit)
}

/// Follows the boot file of the lease to a kernel, and starts it.
fn follow(
    config: &Config,
    gate: &Gate,
    trust: &Trust,
    binding: &mut Binding,
    lease: Lease,
    signals: Signals,
) -> Result<Infallible, Exit> {
    // From here on the lease is renewed beside everything else, and a signal undoes it.
    binding.renew(&config.dhcp, signals)?;
    let console = Console::new(config.boot.unattended);
    let lease = acquire::boot_file(binding, lease, config, console)?;
    gate.timeline.done("boot server");
    let link = binding.link();
    let mut fetcher = Fetcher::new(config, &link.name, &lease, trust, &gate.timeline)?;
    fetcher.hashes = measure::is_wanted(config, !fetcher.keys.is_empty());
    let facts = planning::facts(config, &link.name, link.mac, &lease)?;
    let mut outcome = planning::plan(
        facts,
        console,
        |url, purpose| fetcher.get(url, purpose.max_len()),
        |url, file, signature| fetcher.verify(url, file, signature, &trust.keys),
    )?;
    planning::report(config, &outcome.plan, &outcome.notes);
    gate.pass(Step::Plan)?;
    outcome.fetch_parts(|url, max_len| fetcher.need(url, max_len))?;
    let files = outcome.files;
    let image = Image::assemble(&outcome.plan, move |url| files.get(url), fetcher.hashes)?;
    gate.pass(Step::Image)?;
    // Before the kernel has it: the TCG asks that a stage is measured before it gets control.
    for measurement in image.measure(fetcher.hashes)? {
        gate.timeline.extend([measurement.moment()]);
    }
    gate.timeline.done("measure");
    image.load(config.boot.loader)?;
    gate.pass(Step::Load)?;
    let kernel = &outcome.plan.kernel.url;
    log::info!("starting {kernel} with \"{}\"", image.command_line);
    gate.close();
    // No RELEASE: the next kernel asks for the same address and would find it given away.
    binding.settle();
    binding.link().quiesce();
    Ok(image.start()?)
}
