//! The planner: recognizes a boot file by its first bytes or its name, and runs the interpreter of its
//! language, within limits of files and steps.

use super::context::{Budget, Context, Note, Turn};
use super::facts::Facts;
#[cfg(feature = "grub")]
use super::grub;
#[cfg(feature = "iso")]
use super::iso::{self, ImageInspection, IsoProbe, IsoSearch, IsoSearchResult};
use super::loaders::{self, BootLoader, Language};
use super::plan::{BootPlan, Place, PlanError, PlanPart, Purpose};
use super::step::{Answer, FetchResult, Step};
use super::{bls, ipxe, pxelinux};
use crate::format::kernel_image::{KernelFormat, classify};
use crate::prelude::*;
use crate::text::safe::Safe;
use crate::text::url::Url;

/// Limit of boot files that chain one to the next; they can chain in a circle.
const MAX_CHAINS: usize = 32;

/// Limit of files that one plan fetches, since a script can fetch in a loop, and a line name thousands of
/// initrds.
const MAX_FETCHES: usize = 2_000;
/// The script that iPXE looks for beside itself (efi_autoexec.c).
const AUTOEXEC: &str = "autoexec.ipxe";

/// What is said of a server that offers iPXE to what is an iPXE already, and no script beside it.
const NO_SCRIPT: &str = "the server has no such file: it offers iPXE itself, as it does to firmware; send \
                         the user class by which it knows the iPXE that gets its script \
                         (--user-class; for Tinkerbell's Smee: --user-class Tinkerbell)";
/// What is said of a first boot file that is not there.
const NO_BOOT_FILE: &str =
    "the server has no such file; put it there, or correct its name (option 67)";
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
    /// The image whose configuration is being read, for another one of it if that leads to no plan.
    #[cfg(feature = "iso")]
    image: Option<Box<IsoSearch>>,
    /// What the driver is asked for in the place of a whole image.
    #[cfg(feature = "iso")]
    probe: Option<IsoProbe>,
}

#[derive(Debug)]
enum State {
    Start(Url),
    BootFile(Url),
    Pxelinux(Box<pxelinux::PxelinuxMachine>),
    Ipxe(Box<ipxe::IpxeMachine>),
    #[cfg(feature = "grub")]
    Grub(Box<grub::GrubMachine>),
    #[cfg(feature = "iso")]
    Iso(Box<IsoSearch>),
    #[cfg(feature = "iso")]
    Inspect(Box<ImageInspection>),
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
            #[cfg(feature = "iso")]
            image: None,
            #[cfg(feature = "iso")]
            probe: None,
        }
    }

    /// Handles the answer to the last step and returns the next step.
    pub fn next(&mut self, mut answer: Answer) -> Step {
        #[cfg(feature = "iso")]
        if let Some(probe) = self.probe.take() {
            match probe.answered(answer) {
                Ok(answered) => answer = answered,
                Err(step) => return *step,
            }
        }
        loop {
            let end = match self.turn(answer) {
                Ok(Turn::Ask(step)) if step.is_request() && self.fetches == MAX_FETCHES => {
                    let place = if let Step::Fetch { url, .. } | Step::Verify { url, .. } = &step {
                        Place::whole(url)
                    } else {
                        Place::whole(&self.context.facts.boot_file)
                    };
                    Step::Failed(too_many(&place))
                }
                Ok(Turn::Ask(step)) => {
                    self.fetches += usize::from(step.is_request());
                    self.context.budget.produce(step.text_len());
                    match self.context.budget.check().and(self.check_refusal(&step)) {
                        #[cfg(feature = "iso")]
                        Ok(()) => return self.without_whole_image(step),
                        #[cfg(not(feature = "iso"))]
                        Ok(()) => return step,
                        Err(error) => Step::Failed(error),
                    }
                }
                Ok(Turn::Chain(url)) => {
                    self.state = State::Start(url);
                    answer = Answer::Begin;
                    continue;
                }
                #[cfg(feature = "iso")]
                Ok(Turn::Done(plan)) => match self.inspect(plan) {
                    None => {
                        answer = Answer::Begin;
                        continue;
                    }
                    Some(plan) => self.finished(plan),
                },
                #[cfg(not(feature = "iso"))]
                Ok(Turn::Done(plan)) => self.finished(plan),
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
        let turn = self.next_of_state(answer);
        #[cfg(feature = "iso")]
        if let Err(error) = turn {
            return self.try_other_configuration(error);
        }
        turn
    }

    fn next_of_state(&mut self, answer: Answer) -> Result<Turn, PlanError> {
        match &mut self.state {
            State::Start(url) => {
                let url = url.clone();
                self.chains += 1;
                if self.chains > MAX_CHAINS {
                    let what = format!("more than {MAX_CHAINS} boot files chain one to the next");
                    return Err(PlanError::at(&Place::whole(&url), what));
                }
                self.is_autoexec &= url.file_name() == AUTOEXEC;
                if url.names_iso() {
                    return self.open_image(url);
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
            #[cfg(feature = "grub")]
            State::Grub(machine) => machine.next(answer, &mut self.context),
            #[cfg(feature = "iso")]
            State::Iso(search) => {
                let searched = search.next(answer, &mut self.context)?;
                self.searched(searched)
            }
            #[cfg(feature = "iso")]
            State::Inspect(machine) => machine.next(answer, &mut self.context),
            State::Ended => Err(PlanError::at(
                &Place::whole(&self.context.facts.boot_file),
                "the plan has been made already",
            )),
        }
    }

    fn boot_file(&mut self, url: &Url, answer: Answer) -> Result<Turn, PlanError> {
        let place = Place::whole(url);
        if let Some(why) = answer.cut_text() {
            return Err(PlanError::at(&place, why));
        }
        let head = match answer.into_fetched() {
            FetchResult::File(head) => head,
            FetchResult::Failed(why) => return Err(PlanError::at(&place, why)),
            FetchResult::Missing => match loaders::program(None, url) {
                // The name says which program it is, and the configuration may exist without it.
                Some(program) => return self.configuration_of(program, url),
                None if self.is_autoexec => return Err(PlanError::at(&place, NO_SCRIPT)),
                None if self.chains == 1 => return Err(PlanError::at(&place, NO_BOOT_FILE)),
                None => return Err(PlanError::at(&place, "the server has no such file")),
            },
        };
        // ECMA-119 §8.1.2: the identifier of the first volume descriptor.
        if head.get(0x8001..0x8006) == Some(b"CD001") {
            return self.open_image(url.clone());
        }
        match classify(&head) {
            KernelFormat::Linux | KernelFormat::Uki | KernelFormat::Zboot => {
                self.context.note(&place, "is a kernel");
                let words = self.words_of_lease(&place);
                let initrds = self.context.facts.initrds.iter().cloned();
                Ok(Turn::Done(Box::new(BootPlan {
                    initrds: initrds.map(Into::into).collect(),
                    ..BootPlan::of_kernel(url.clone().into(), words)
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
                    let what = loaders::kernel_refusal(url, &head);
                    let what = what.unwrap_or_else(|| "is packed".to_owned());
                    let what =
                        format!("{what}; name a script, a configuration or a kernel as boot file");
                    Err(PlanError::at(&place, what))
                }
            },
        }
    }

    /// Returns what the lease has for the command line of a kernel that is the boot file itself: the assignments
    /// among the parameters of DHCPv6 (RFC 5970 §3.2).
    fn words_of_lease(&mut self, place: &Place) -> String {
        let facts = &self.context.facts;
        let is_word =
            |text: &str| !facts.must_be_signed && text.contains('=') && !Url::has_scheme(text);
        let given = facts.ipv6.as_ref().map(|lease| &lease.boot_parameters);
        let given = given.into_iter().flatten().cloned();
        let (words, others): (Vec<_>, Vec<_>) = given.partition(|text| is_word(text));
        for text in others {
            let text = Safe::name(&text);
            let what = format!("the parameter {text} is not for a kernel, or not signed; ignored");
            self.context.note(place, &what);
        }
        words.join(" ")
    }

    fn text(&mut self, url: &Url, text: &[u8]) -> Result<Turn, PlanError> {
        match loaders::language(url, text) {
            Some(language) => self.configuration(language, url, text),
            None => Err(PlanError::at(
                &Place::whole(url),
                "a text that is neither a script for iPXE (its first line would be #!ipxe) \
                 nor a configuration of pxelinux or GRUB nor a boot loader entry",
            )),
        }
    }

    fn configuration(
        &mut self,
        language: Language,
        url: &Url,
        text: &[u8],
    ) -> Result<Turn, PlanError> {
        let place = Place::whole(url);
        match language {
            Language::Pxelinux => {
                self.context.note(&place, "is a pxelinux configuration");
                let machine = pxelinux::PxelinuxMachine::of_file(url, text, &mut self.context)?;
                self.enter(State::Pxelinux(Box::new(machine)))
            }
            Language::Grub => self.grub_configuration(url, text),
            Language::Entry => {
                self.context.note(&place, "is a boot loader entry");
                let plan = bls::plan(url, text, &mut self.context)?;
                Ok(Turn::Done(Box::new(plan)))
            }
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
            BootLoader::Grub => self.grub_search(url),
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

    #[cfg(feature = "grub")]
    fn grub_configuration(&mut self, url: &Url, text: &[u8]) -> Result<Turn, PlanError> {
        let place = Place::whole(url);
        self.context.note(&place, "is a GRUB configuration");
        let machine = grub::GrubMachine::of_file(url, text, &mut self.context)?;
        self.enter(State::Grub(Box::new(machine)))
    }

    #[cfg(feature = "grub")]
    fn grub_search(&mut self, url: &Url) -> Result<Turn, PlanError> {
        let place = Place::whole(url);
        let text = "is GRUB or a shim; searching for grub.cfg";
        self.context.note(&place, text);
        let machine = grub::GrubMachine::search(url, &self.context)?;
        self.enter(State::Grub(Box::new(machine)))
    }

    #[cfg(not(feature = "grub"))]
    fn grub_configuration(&mut self, url: &Url, _: &[u8]) -> Result<Turn, PlanError> {
        let what =
            "is a GRUB configuration, and this wireboot was built without the feature \"grub\"";
        Err(PlanError::at(&Place::whole(url), what))
    }

    #[cfg(not(feature = "grub"))]
    fn grub_search(&mut self, url: &Url) -> Result<Turn, PlanError> {
        let what = "is GRUB or a shim, and this wireboot was built without the feature \"grub\"";
        Err(PlanError::at(&Place::whole(url), what))
    }

    /// Makes sure that no refused file is read, but by a script, which knows whether it uses it.
    fn check_refusal(&self, step: &Step) -> Result<(), PlanError> {
        if let Step::Fetch { url, .. } = step
            && !matches!(self.state, State::Ipxe(_))
        {
            return self.context.check_refusal(url);
        }
        Ok(())
    }

    /// Starts an interpreter and returns its first turn.
    fn enter(&mut self, state: State) -> Result<Turn, PlanError> {
        self.state = state;
        self.turn(Answer::Begin)
    }

    #[cfg(not(feature = "iso"))]
    fn open_image(&mut self, url: Url) -> Result<Turn, PlanError> {
        Err(PlanError::at(&Place::whole(&url), loaders::NO_ISO))
    }

    /// Adds what the user appends, and makes sure that no file of the plan is refused.
    fn finished(&mut self, mut plan: Box<BootPlan>) -> Step {
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
        let check = |(part, _): (&PlanPart, Purpose)| self.context.check_refusal(&part.url);
        let result = if self.fetches + plan.initrds.len() > MAX_FETCHES {
            Err(too_many(&Place::whole(&plan.kernel.url)))
        } else if plan.with_append(&plan.command_line).len() > MAX_COMMAND_LINE_LEN {
            let what = format!("a command line of more than {MAX_COMMAND_LINE_LEN} bytes");
            Err(PlanError::at(&Place::whole(&plan.kernel.url), what))
        } else {
            plan.parts().try_for_each(check)
        };
        match result {
            Ok(()) => Step::Done(plan),
            Err(error) => Step::Failed(error),
        }
    }
}

/// The longest command line that is made, in bytes, many times what kernels take: one that is longer is none
/// for a message of a worker either.
const MAX_COMMAND_LINE_LEN: usize = 64 << 10;

fn too_many(place: &Place) -> PlanError {
    PlanError::at(
        place,
        format!("more than {MAX_FETCHES} files were requested"),
    )
}

/// ISO images: their configurations, and the step between such a configuration and the plan.
#[cfg(feature = "iso")]
impl Planner {
    /// Begins with the configurations in an image.
    fn open_image(&mut self, url: Url) -> Result<Turn, PlanError> {
        let search = IsoSearch::new(url, &self.context);
        self.enter(State::Iso(Box::new(search)))
    }

    /// Begins with the configuration that was found in the image.
    fn searched(&mut self, searched: IsoSearchResult) -> Result<Turn, PlanError> {
        match searched {
            IsoSearchResult::Asks(turn) => Ok(turn),
            IsoSearchResult::Found(url, text, language) => {
                if let State::Iso(search) = core::mem::replace(&mut self.state, State::Ended) {
                    self.image = Some(search);
                }
                self.configuration(language, &url, &text)
            }
        }
    }

    /// Tries another configuration of the image when one leads to no plan. Nothing was shown of it yet,
    /// or a second menu would follow the choice in the first.
    fn try_other_configuration(&mut self, error: PlanError) -> Result<Turn, PlanError> {
        let Some(mut search) = self.image.take().filter(|_| error.outcome.is_none()) else {
            return Err(error);
        };
        let searched = search.retry(error, &mut self.context)?;
        self.state = State::Iso(search);
        self.searched(searched)
    }

    /// Returns the step for the driver: nothing needs a whole image before the plan is known.
    fn without_whole_image(&mut self, step: Step) -> Step {
        if matches!(
            step,
            Step::Menu(_) | Step::Prompt { .. } | Step::Input { .. } | Step::CommandLine { .. }
        ) {
            self.image = None;
        }
        match IsoProbe::of(&step) {
            Some((probe, step)) => {
                self.probe = Some(probe);
                step
            }
            None => step,
        }
    }

    /// Enters the state between a plan and its end, if there is one: where its kernel is in an image, or
    /// would emulate a disk with one. Returns the plan when it is ready.
    fn inspect(&mut self, plan: Box<BootPlan>) -> Option<Box<BootPlan>> {
        self.image = None;
        if matches!(self.state, State::Inspect(_)) {
            return Some(plan);
        }
        if let Some(image) = iso::of_memdisk(&plan) {
            let place = Place::whole(&plan.kernel.url);
            let text = format!("memdisk would start {image}, which is read instead");
            self.context.note(&place, text);
            self.state = State::Start(image.clone());
            return None;
        }
        match ImageInspection::begin(plan) {
            Ok(machine) => {
                self.state = State::Inspect(Box::new(machine));
                None
            }
            Err(plan) => Some(plan),
        }
    }
}

#[cfg(test)]
mod tests;
