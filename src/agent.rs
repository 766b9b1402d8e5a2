//! The whole boot, step by step; each step consumes what the one before produced.

#![forbid(unsafe_code)]

use std::convert::Infallible;

use crate::acquire;
use crate::config::{Config, Stage};
use crate::console::Console;
use crate::error::{Error, Reason};
use crate::fetch;
use crate::gate::{Exit, Gate};
use crate::link;
use crate::planning;
#[cfg(feature = "root")]
use crate::root;
use crate::sys::signal::Signals;
use crate::trust::Trust;

/// Boots the machine from the network; returns only after the step of `--stop-after`, or with why a
/// step failed: the network is then as it was before.
pub fn run(config: &Config) -> Result<Stage, Error> {
    let gate = Gate::open(config);
    let Err(exit) = boot(config, &gate);
    gate.close_after(exit)
}

fn boot(config: &Config, gate: &Gate) -> Result<Infallible, Exit> {
    // Before anything is touched: a fault in these files is the same with an address.
    let trust = Trust::of(&config.trust)?;
    fetch::check(config)?;
    let signals = Signals::of_boot().map_err(Reason::no_signals)?;
    // Otherwise the next step raises the interfaces, since it listens on them before they are up.
    gate.end_with(Stage::Link, || link::up(&config.link, Some(&signals)))?;
    let (mut binding, lease) = acquire::bind(config, gate, &signals)?;
    #[cfg(feature = "report")]
    fetch::begin_reports(config, binding.link(), &lease, &trust, gate)?;
    gate.pass(Stage::Lease)?;
    let follow = || -> Result<Infallible, Exit> {
        // From here on the lease is renewed beside everything else, and a signal undoes it.
        binding.renew(signals, gate.clone())?;
        #[cfg(feature = "root")]
        if root::is_wanted(&config.root) {
            return root::start(config, gate, &mut binding, &lease, &trust);
        }
        let console = Console::new(config.boot.unattended);
        let lease = acquire::boot_file(&binding, lease, config, console)?;
        gate.timeline.done("boot server");
        let planning = planning::follow(config, binding.link(), &lease, &trust, &gate.timeline)?;
        let kernel = planning.kernel.clone();
        gate.pass(Stage::Plan)?;
        #[cfg(feature = "root")]
        if let Some(root) = planning.root()?.filter(root::is_wanted) {
            let fetcher = planning.fetcher;
            return root::start_planned(&root, fetcher, config, gate, &mut binding, &lease);
        }
        let image = planning.assemble()?;
        binding.check_address_in(&image.command_line);
        gate.pass(Stage::Image)?;
        image.load_and_measure(config.boot.loader, &gate.timeline)?;
        gate.pass(Stage::Load)?;
        let command_line = &image.command_line;
        gate.close(
            &format!("starting {kernel} with \"{command_line}\""),
            "kexec",
        );
        // No RELEASE: the next kernel asks for the same address and would find it given away.
        binding.settle();
        binding.link().quiesce();
        Ok(image.start()?)
    };
    let Err(exit) = follow();
    gate.report(&exit);
    // The boot has failed or was to stop here: nobody renews the lease from here on.
    binding.restore();
    Err(exit)
}
