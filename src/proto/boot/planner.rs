//! The machine over all kinds of boot files: looks at the first octets and hands over to the
//! reader of that kind.

use super::budget::Budget;
use super::error::{Error, Place};
use super::facts::Facts;
use super::firmware::{Language, Program};
use super::{Answer, BootPlan, Fetched, Purpose, Step, bls, firmware, grub, ipxe, pxelinux};
use crate::format::kernel_image::{KernelFormat, classify};
use crate::prelude::*;
use crate::text::url::Url;

/// How many boot files may lead one to the next.
const MAX_CHAINS: usize = 32;

/// How many files one plan may ask for.
const MAX_FETCHES: usize = 2_000;
/// How many decisions are kept, and how many characters of each: a server decides how many there
/// are.
const MAX_NOTES: usize = 2_000;
const MAX_NOTE_LEN: usize = 1_000;

const UNUSED_DEVICE_TREE: &str = "is a device tree and is not loaded: the next kernel gets the one \
                                  that this machine runs with";

/// A decision, and the place it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where it is written.
    pub place: Place,
    /// What follows from it.
    pub text: String,
}

/// Makes a [`BootPlan`] of a boot file; see [`super`] for how it is driven.
#[derive(Debug)]
pub struct Planner {
    context: Context,
    state: State,
    chains: usize,
    fetches: usize,
}

/// What every reader sees and writes to.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) facts: Facts,
    pub(super) budget: Budget,
    notes: Vec<Note>,
}

impl Context {
    /// Keeps a decision for people who ask why; of very many, the first.
    pub(super) fn note(&mut self, place: &Place, text: impl Into<String>) {
        if self.notes.len() < MAX_NOTES {
            let text: String = text.into();
            self.notes.push(Note {
                place: place.clone(),
                text: text.chars().take(MAX_NOTE_LEN).collect(),
            });
        }
    }
}

/// What a reader wants.
#[derive(Debug)]
pub(super) enum Turn {
    /// A step of the driver.
    Ask(Step),
    /// Another file takes over as boot file.
    Chain(Url),
    /// The plan is ready.
    Done(Box<BootPlan>),
}

impl Turn {
    /// Asks for a file that is read as text.
    pub(super) const fn configuration(url: Url) -> Self {
        let purpose = Purpose::Configuration;
        Self::Ask(Step::Fetch { url, purpose })
    }
}

#[derive(Debug)]
enum State {
    Start(Url),
    BootFile(Url),
    Pxelinux(Box<pxelinux::Machine>),
    Ipxe(Box<ipxe::Machine>),
    Grub(Box<grub::Machine>),
    Ended,
}

impl Planner {
    /// Begins with the boot file in `facts`.
    pub fn new(facts: Facts) -> Self {
        Self {
            state: State::Start(facts.boot_file.clone()),
            context: Context {
                budget: Budget::new(Place::whole(&facts.boot_file)),
                facts,
                notes: Vec::new(),
            },
            chains: 0,
            fetches: 0,
        }
    }

    /// Takes the answer to the step before and returns the next.
    pub fn next(&mut self, mut answer: Answer) -> Step {
        loop {
            let end = match self.turn(answer) {
                Ok(Turn::Ask(Step::Fetch { url, .. } | Step::Verify { url, .. }))
                    if self.fetches == MAX_FETCHES =>
                {
                    let what = format!("more than {MAX_FETCHES} files were asked for");
                    Step::Failed(Error::new(&Place::whole(&url), "", what))
                }
                Ok(Turn::Ask(step)) => {
                    self.fetches +=
                        usize::from(matches!(step, Step::Fetch { .. } | Step::Verify { .. }));
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
        &self.context.notes
    }

    fn turn(&mut self, answer: Answer) -> Result<Turn, Error> {
        match &mut self.state {
            State::Start(url) => {
                let url = url.clone();
                self.chains += 1;
                if self.chains > MAX_CHAINS {
                    let what = format!("more than {MAX_CHAINS} boot files lead one to the next");
                    return Err(Error::new(&Place::whole(&url), "", what));
                }
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
            State::Ended => Err(Error::new(
                &Place::whole(&self.context.facts.boot_file),
                "",
                "the plan has been made already",
            )),
        }
    }

    fn boot_file(&mut self, url: &Url, answer: Answer) -> Result<Turn, Error> {
        let place = Place::whole(url);
        let head = match answer.into_fetched() {
            Fetched::File(head) => head,
            Fetched::Failed(why) => return Err(Error::new(&place, "", why)),
            Fetched::Missing => match firmware::program(None, url) {
                // The server was never asked for the program itself while it served firmware.
                Some(program) => return self.configuration_of(program, url),
                None => return Err(Error::new(&place, "", "the server has no such file")),
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
                let machine = ipxe::Machine::new(url, &head, &mut self.context)?;
                self.enter(State::Ipxe(Box::new(machine)))
            }
            KernelFormat::Text => self.text(url, &head),
            kind @ (KernelFormat::Efi
            | KernelFormat::Pxelinux
            | KernelFormat::Grub
            | KernelFormat::Program) => match firmware::program(Some(kind), url) {
                Some(program) => self.configuration_of(program, url),
                None => Err(Error::new(
                    &place,
                    "",
                    "a program for the firmware, which is gone once Linux runs; \
                         name a script, a configuration or a kernel as boot file",
                )),
            },
        }
    }

    fn text(&mut self, url: &Url, text: &[u8]) -> Result<Turn, Error> {
        let place = Place::whole(url);
        match firmware::language(text) {
            Some(Language::Pxelinux) => {
                self.context.note(&place, "is a pxelinux configuration");
                let machine = pxelinux::Machine::of_file(url, text, &mut self.context)?;
                self.enter(State::Pxelinux(Box::new(machine)))
            }
            Some(Language::Grub) => {
                self.context.note(&place, "is a GRUB configuration");
                let machine = grub::Machine::of_file(url, text, &mut self.context)?;
                self.enter(State::Grub(Box::new(machine)))
            }
            Some(Language::Entry) => {
                self.context.note(&place, "is a boot loader entry");
                let plan = bls::plan(url, text, &mut self.context)?;
                Ok(Turn::Done(Box::new(plan)))
            }
            None => Err(Error::new(
                &place,
                "",
                "a text that is neither a script for iPXE (its first line would be #!ipxe) \
                 nor a configuration of pxelinux or GRUB nor a boot loader entry",
            )),
        }
    }

    fn configuration_of(&mut self, program: Program, url: &Url) -> Result<Turn, Error> {
        let place = Place::whole(url);
        match program {
            Program::Pxelinux => {
                let text = "is pxelinux: its configuration is searched beside it";
                self.context.note(&place, text);
                let machine = pxelinux::Machine::search(url, &self.context)?;
                self.enter(State::Pxelinux(Box::new(machine)))
            }
            Program::Grub => {
                let text = "is GRUB or a shim: grub.cfg is searched beside it";
                self.context.note(&place, text);
                let machine = grub::Machine::search(url, &self.context)?;
                self.enter(State::Grub(Box::new(machine)))
            }
            Program::Ipxe => {
                let text = "is iPXE: autoexec.ipxe is looked for beside it";
                self.context.note(&place, text);
                let script = url.join("autoexec.ipxe");
                script
                    .map(Turn::Chain)
                    .map_err(|error| Error::new(&place, "autoexec.ipxe", error.what))
            }
        }
    }

    /// Goes over to a reader and takes its first turn.
    fn enter(&mut self, state: State) -> Result<Turn, Error> {
        self.state = state;
        self.turn(Answer::Begin)
    }

    /// Adds what the user appends.
    fn finished(&mut self, mut plan: Box<BootPlan>) -> Box<BootPlan> {
        let facts = &self.context.facts;
        plan.append = facts.append.as_ref().map(|text| facts.fill_in(text));
        plan.loads_device_tree = facts.architecture.loads_device_trees();
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
