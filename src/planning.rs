//! From a boot file to a plan, and from a plan to its image; by a worker, unless the sandbox is off.

#![forbid(unsafe_code)]

mod drive;
mod facts;
mod planned;
mod worker;

use std::io::{self, IsTerminal};

#[cfg(feature = "root")]
use crate::config::RootConfig;
use crate::config::{Config, PlanOutput, Stage};
use crate::console::Console;
use crate::error::Error;
#[cfg(feature = "root")]
use crate::error::Reason;
use crate::fetch::Fetcher;
use crate::image::Image;
use crate::link::Link;
#[cfg(feature = "root")]
use crate::settings::{cmdline::words, root};
use crate::sys::terminal;
use crate::timeline::Timeline;
use crate::trust::Trust;
use drive::drive;
use facts::{beside_server_name, facts};
use planned::{Copies, Planned, unreadable};
#[cfg(feature = "root")]
use wireboot_proto::boot::Facts;
use wireboot_proto::boot::{BootPlan, Note, Purpose, report};
use wireboot_proto::dhcp::lease::Lease;
#[cfg(feature = "root")]
use wireboot_proto::oci::{Reference, Role};
use wireboot_proto::text::url::Url;
#[cfg(feature = "root")]
use wireboot_proto::text::url::without_credentials;

/// A plan, and who carries it out.
#[derive(Debug)]
pub struct Planning {
    /// The kernel.
    pub kernel: Url,
    /// Its command line, where that of the kernel itself is not meant.
    #[cfg_attr(
        not(feature = "root"),
        expect(dead_code, reason = "it may name a root")
    )]
    command_line: String,
    /// What fetches the rest.
    pub fetcher: Fetcher,
    maker: Maker,
}

/// The process that has made a plan.
#[derive(Debug)]
enum Maker {
    /// This process.
    Own(Box<Planned>),
    /// A worker, which has the plan.
    Worker(worker::PlanWorker),
}

impl Planning {
    /// Returns the root that the plan is to mount in place of its kernel.
    ///
    /// # Errors
    /// [`Reason::NothingBootable`] for a word about it that is wrong.
    #[cfg(feature = "root")]
    pub fn root(&self) -> Result<Option<RootConfig>, Error> {
        root::of_plan(&words(&self.command_line)).map_err(|why| {
            Box::new(Reason::NothingBootable {
                what: format!("{}: its root is none: {why}", self.kernel),
                source: None,
            })
        })
    }

    /// Makes the image of the plan.
    ///
    /// # Errors
    /// As [`Planned::assemble`], and [`Reason::Fetch`] when the worker itself fails.
    pub fn assemble(self) -> Result<Image, Error> {
        match self.maker {
            Maker::Own(mut planned) => planned.assemble(&self.fetcher),
            Maker::Worker(planner) => {
                let image = planner.assemble(&self.fetcher)?;
                if image.hashes {
                    image.hash_beside();
                }
                Ok(image)
            }
        }
    }
}

/// Finds the files of a boot file that is an artifact in a registry: the one that it names, a unified
/// kernel image, or a kernel with its initrds.
#[cfg(feature = "root")]
fn add_artifact(facts: &mut Facts, fetcher: &Fetcher) -> Result<(), Error> {
    let Some(reference) = Reference::parse(&facts.boot_file_name) else {
        return Ok(());
    };
    let nothing = |why: &str| {
        Box::new(Reason::NothingBootable {
            what: format!("{}: {why}", without_credentials(&facts.boot_file_name)),
            source: None,
        })
    };
    let reference = reference.map_err(nothing)?;
    let files = fetcher.artifact(&reference)?;
    let of = |role: Role| {
        let files = files.iter();
        files
            .filter(move |(layer, _)| layer.role() == Some(role))
            .map(|(_, url)| url.clone())
    };
    let named = files.first().filter(|_| reference.file.is_some());
    let alone = named
        .map(|(_, url)| url.clone())
        .or_else(|| of(Role::Unified).next());
    facts.boot_file = match alone {
        Some(url) => url,
        None => {
            facts.initrds.splice(..0, of(Role::Initrd));
            let kernel = of(Role::Kernel).next();
            kernel.ok_or_else(|| {
                nothing("the artifact has neither a kernel nor a unified kernel image")
            })?
        }
    };
    Ok(())
}

/// Follows the boot file of `lease` to a plan, and prints of it what `config` asks for; by a worker,
/// unless the sandbox is off.
///
/// # Errors
/// As [`Fetcher::new`], [`facts()`] and [`drive()`].
pub fn follow(
    config: &Config,
    link: &Link,
    lease: &Lease,
    trust: &Trust,
    timeline: &Timeline,
) -> Result<Planning, Error> {
    let fetcher = Fetcher::new(config, &link.name, lease, trust, timeline)?;
    let mut facts = facts(config, &link.name, link.mac, lease)?;
    #[cfg(feature = "bond")]
    {
        facts.made_by = link.made_of.words();
    }
    facts.must_be_signed = trust.policy.must_be_signed;
    #[cfg(feature = "root")]
    add_artifact(&mut facts, &fetcher)?;
    let boot_file = facts.boot_file.clone();
    let copies = Copies::of(&config.boot);
    let plan = |fetcher: &Fetcher| {
        // The bytes of the parts that a script fetches itself.
        let mut len = 0;
        let mut get = |url: &Url, purpose: Purpose, fetcher: &Fetcher| {
            if !matches!(purpose, Purpose::Kernel | Purpose::Initrd) {
                return fetcher.get(url, purpose.max_len());
            }
            let fetcher = fetcher.with_room(copies.room_beside(len));
            let file = fetcher.get(url, purpose.max_len())?;
            if let Some(file) = &file {
                len += file.size().map_err(unreadable)?;
            }
            Ok(file)
        };
        let planned = drive(
            facts,
            Console::new(config.boot.unattended),
            |url, purpose, limit| match limit {
                Some(limit) => get(url, purpose, &fetcher.within(limit)),
                None => get(url, purpose, fetcher),
            },
            |url, file, signature| fetcher.verify(url, file, signature, &trust.keys),
            |query| fetcher.answer(query),
        )
        .map_err(|error| beside_server_name(error, lease))?;
        let planned = Planned { copies, ..planned };
        #[cfg(feature = "root")]
        let planned = planned.with_note_of_root();
        report(config, &planned.plan, &planned.notes);
        let kernel = planned.plan.kernel.url.clone();
        let command_line = planned.plan.with_append(&planned.plan.command_line);
        Ok(((kernel, command_line), planned))
    };
    let ((kernel, command_line), maker) = if !config.trust.sandbox.has_workers() {
        let (made, planned) = plan(&fetcher)?;
        (made, Maker::Own(Box::new(planned)))
    } else {
        let sandbox = &config.trust.sandbox;
        let assemble = |mut planned: Planned, fetcher: &Fetcher| planned.assemble(fetcher);
        let started = worker::PlanWorker::start(sandbox, &boot_file, &fetcher, plan, assemble)?;
        (started.1, Maker::Worker(started.0))
    };
    Ok(Planning {
        kernel,
        command_line,
        fetcher,
        maker,
    })
}

/// Prints the plan in the format of `config`.
fn report(config: &Config, plan: &BootPlan, notes: &[Note]) {
    let is_last = config.boot.stop_after == Some(Stage::Plan);
    let text = match config.output.report {
        PlanOutput::Json if is_last => report::json(plan) + "\n",
        PlanOutput::Plan if is_last => report::text(plan),
        // On a terminal the log has just shown the notes.
        PlanOutput::Explain if is_log_beside_output() => report::text(plan),
        PlanOutput::Explain => report::explain(notes) + &report::text(plan),
        PlanOutput::Json | PlanOutput::Plan => return,
    };
    terminal::print(&text);
}

/// Returns whether log and standard output go to the terminal.
fn is_log_beside_output() -> bool {
    let is_logged = log::log_enabled!(log::Level::Info);
    is_logged && io::stdout().is_terminal() && io::stderr().is_terminal()
}
