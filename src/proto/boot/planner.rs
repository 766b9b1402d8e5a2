//! The planner: recognizes a boot file by its first bytes and hands it to the interpreter of its
//! language.

use super::context::{Budget, Context, Note, Turn};
use super::error::{Place, PlanError};
use super::facts::Facts;
use super::loaders::{BootLoader, Language};
use super::plan::{BootPlan, Purpose};
use super::step::{Answer, Fetched, Step};
use super::{bls, grub, ipxe, loaders, pxelinux};
use crate::format::kernel_image::{KernelFormat, classify};
use crate::prelude::*;
use crate::text::url::Url;

/// Limit of boot files that chain one to the next; they can chain in a circle.
const MAX_CHAINS: usize = 32;

/// Limit of files that one plan fetches, since a script can fetch in a loop.
const MAX_FETCHES: usize = 2_000;
/// The script that iPXE looks for beside itself (efi_autoexec.c).
const AUTOEXEC: &str = "autoexec.ipxe";

/// What is said of a server that offers iPXE to what is an iPXE already, and no script beside it.
const NO_SCRIPT: &str = "the server has no such file: it offers iPXE itself, as it does to firmware; send \
                         the user class by which it knows the iPXE that gets its script \
                         (--user-class; for Tinkerbell's Smee: --user-class Tinkerbell)";
const UNUSED_DEVICE_TREE: &str = "is a device tree and is not loaded; the next kernel uses the \
                                  one that is running now";

/// Makes a [`BootPlan`] of a boot file; see [`super`] for how it is driven.
#[derive(Debug)]
pub struct Planner {
    context: Context,
    state: State,
    chains: usize,
    fetches: usize,
    /// Whether the boot file is the script that iPXE looks for by itself.
    is_autoexec: bool,
}

#[derive(Debug)]
enum State {
    Start(Url),
    BootFile(Url),
    Pxelinux(Box<pxelinux::PxelinuxMachine>),
    Ipxe(Box<ipxe::IpxeMachine>),
    Grub(Box<grub::GrubMachine>),
    Ended,
}

impl Planner {
    /// Begins with the boot file in `facts`.
    pub fn new(facts: Facts) -> Self {
        Self {
            state: State::Start(facts.boot_file.clone()),
            context: {
                let budget = Budget::new(Place::whole(&facts.boot_file));
                Context::new(facts, budget)
            },
            chains: 0,
            fetches: 0,
            is_autoexec: false,
        }
    }

    /// Handles the answer to the last step and returns the next step.
    pub fn next(&mut self, mut answer: Answer) -> Step {
        loop {
            let end = match self.turn(answer) {
                Ok(Turn::Ask(step)) if step.is_request() && self.fetches == MAX_FETCHES => {
                    let what = format!("more than {MAX_FETCHES} files were requested");
                    let place = if let Step::Fetch { url, .. } | Step::Verify { url, .. } = &step {
                        Place::whole(url)
                    } else {
                        Place::whole(&self.context.facts.boot_file)
                    };
                    Step::Failed(PlanError::at(&place, what))
                }
                Ok(Turn::Ask(step)) => {
                    self.fetches += usize::from(step.is_request());
                    self.context.budget.produce(step.text_len());
                    match self.context.budget.check() {
                        Ok(()) => return step,
                        Err(error) => Step::Failed(error),
                    }
                }
                Ok(Turn::Chain(url)) => {
                    self.state = State::Start(url);
                    answer = Answer::Begin;
                    continue;
                }
                Ok(Turn::Done(plan)) => Step::Done(self.finished(plan)),
                Err(error) => Step::Failed(error),
            };
            self.state = State::Ended;
            return end;
        }
    }

    /// Returns the decisions so far, in order.
    pub fn notes(&self) -> &[Note] {
        self.context.notes()
    }

    fn turn(&mut self, answer: Answer) -> Result<Turn, PlanError> {
        match &mut self.state {
            State::Start(url) => {
                let url = url.clone();
                self.chains += 1;
                if self.chains > MAX_CHAINS {
                    let what = format!("more than {MAX_CHAINS} boot files chain one to the next");
                    return Err(PlanError::at(&Place::whole(&url), what));
                }
                self.is_autoexec &= url.file_name() == AUTOEXEC;
                self.state = State::BootFile(url.clone());
                Ok(Turn::Ask(Step::Fetch {
                    url,
                    purpose: Purpose::BootFile,
                }))
            }
            State::BootFile(url) => {
                let url = url.clone();
                self.boot_file(&url, answer)
            }
            State::Pxelinux(machine) => machine.next(answer, &mut self.context),
            State::Ipxe(machine) => machine.next(answer, &mut self.context),
            State::Grub(machine) => machine.next(answer, &mut self.context),
            State::Ended => Err(PlanError::at(
                &Place::whole(&self.context.facts.boot_file),
                "the plan has been made already",
            )),
        }
    }

    fn boot_file(&mut self, url: &Url, answer: Answer) -> Result<Turn, PlanError> {
        let place = Place::whole(url);
        let head = match answer.into_fetched() {
            Fetched::File(head) => head,
            Fetched::Failed(why) => return Err(PlanError::at(&place, why)),
            Fetched::Missing => match loaders::program(None, url) {
                // The name says which program it is, and the configuration may exist without it.
                Some(program) => return self.configuration_of(program, url),
                None if self.is_autoexec => return Err(PlanError::at(&place, NO_SCRIPT)),
                None => return Err(PlanError::at(&place, "the server has no such file")),
            },
        };
        match classify(&head) {
            KernelFormat::Linux | KernelFormat::Uki | KernelFormat::Zboot => {
                self.context.note(&place, "is a kernel");
                let initrds = self.context.facts.initrds.iter().cloned();
                Ok(Turn::Done(Box::new(BootPlan {
                    initrds: initrds.map(Into::into).collect(),
                    ..BootPlan::of_kernel(url.clone().into(), String::new())
                })))
            }
            KernelFormat::IpxeScript => {
                self.context.note(&place, "is an iPXE script");
                let machine = ipxe::IpxeMachine::new(url, &head, &mut self.context)?;
                self.enter(State::Ipxe(Box::new(machine)))
            }
            KernelFormat::Text => self.text(url, &head),
            kind @ (KernelFormat::OldBzImage
            | KernelFormat::Efi
            | KernelFormat::Pxelinux
            | KernelFormat::Grub
            | KernelFormat::Program) => match loaders::program(Some(kind), url) {
                Some(program) => self.configuration_of(program, url),
                None => {
                    let what = loaders::kernel_refusal(url, &head).unwrap_or_default();
                    let what =
                        format!("{what}; name a script, a configuration or a kernel as boot file");
                    Err(PlanError::at(&place, what))
                }
            },
        }
    }

    fn text(&mut self, url: &Url, text: &[u8]) -> Result<Turn, PlanError> {
        let place = Place::whole(url);
        match loaders::language(text) {
            Some(Language::Pxelinux) => {
                self.context.note(&place, "is a pxelinux configuration");
                let machine = pxelinux::PxelinuxMachine::of_file(url, text, &mut self.context)?;
                self.enter(State::Pxelinux(Box::new(machine)))
            }
            Some(Language::Grub) => {
                self.context.note(&place, "is a GRUB configuration");
                let machine = grub::GrubMachine::of_file(url, text, &mut self.context)?;
                self.enter(State::Grub(Box::new(machine)))
            }
            Some(Language::Entry) => {
                self.context.note(&place, "is a boot loader entry");
                let plan = bls::plan(url, text, &mut self.context)?;
                Ok(Turn::Done(Box::new(plan)))
            }
            None => Err(PlanError::at(
                &place,
                "a text that is neither a script for iPXE (its first line would be #!ipxe) \
                 nor a configuration of pxelinux or GRUB nor a boot loader entry",
            )),
        }
    }

    fn configuration_of(&mut self, program: BootLoader, url: &Url) -> Result<Turn, PlanError> {
        let place = Place::whole(url);
        match program {
            BootLoader::Pxelinux => {
                let text = "is pxelinux; searching for its configuration";
                self.context.note(&place, text);
                let machine = pxelinux::PxelinuxMachine::search(url, &self.context)?;
                self.enter(State::Pxelinux(Box::new(machine)))
            }
            BootLoader::Grub => {
                let text = "is GRUB or a shim; searching for grub.cfg";
                self.context.note(&place, text);
                let machine = grub::GrubMachine::search(url, &self.context)?;
                self.enter(State::Grub(Box::new(machine)))
            }
            BootLoader::Ipxe => {
                // iPXE itself looks for autoexec.ipxe where it came from (efi_autoexec.c).
                let text = "is iPXE; continuing with autoexec.ipxe beside it";
                self.context.note(&place, text);
                self.is_autoexec = true;
                let script = url.join(AUTOEXEC);
                script
                    .map(Turn::Chain)
                    .map_err(|error| PlanError::new(&place, AUTOEXEC, error.what))
            }
        }
    }

    /// Starts an interpreter and returns its first turn.
    fn enter(&mut self, state: State) -> Result<Turn, PlanError> {
        self.state = state;
        self.turn(Answer::Begin)
    }

    /// Adds what the user appends.
    fn finished(&mut self, mut plan: Box<BootPlan>) -> Box<BootPlan> {
        let facts = &self.context.facts;
        plan.append = facts.append.as_ref().map(|text| facts.fill_in(text));
        plan.loads_device_tree = facts.architecture.loads_device_trees();
        // kexec_file_load takes no device tree; only kernels for arm64 are started by kexec_load.
        if let Some(tree) = &plan.device_tree
            && !plan.loads_device_tree
        {
            let place = Place::whole(&tree.url);
            self.context.note(&place, UNUSED_DEVICE_TREE);
        }
        plan
    }
}

#[cfg(test)]
mod tests;
