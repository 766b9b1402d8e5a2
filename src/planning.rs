//! Drives [`Planner`]: fetches files, shows menus, and stores every file so that none is fetched twice.

#![forbid(unsafe_code)]

mod facts;
mod worker;

use std::io::{self, IsTerminal};
use std::rc::Rc;
use std::time::Duration;

#[cfg(feature = "root")]
use crate::config::RootConfig;
use crate::config::{self, BootConfig, Config, Loader, PlanOutput, Stage};
use crate::console::Console;
use crate::error::{Error, Reason};
use crate::fetch::Fetcher;
use crate::image::Image;
use crate::link::Link;
#[cfg(feature = "root")]
use crate::settings::{cmdline::words, root};
use crate::sys::SyscallError;
use crate::sys::memfd::SealedFile;
use crate::sys::terminal;
use crate::trust::Trust;
use facts::{beside_server_name, facts};
#[cfg(feature = "root")]
use wireboot_proto::boot::Place;
use wireboot_proto::boot::{
    Answer, BootPlan, Facts, HEAD_LEN, Note, Planner, Purpose, Query, Step, kernel_refusal, report,
};
use wireboot_proto::dhcp::lease::Lease;
#[cfg(feature = "root")]
use wireboot_proto::oci::{Reference, Role};
use wireboot_proto::text::url::Url;
#[cfg(feature = "root")]
use wireboot_proto::text::url::without_credentials;
use wireboot_proto::worker::Room;

/// Fetched files by their URLs.
#[derive(Debug, Default)]
pub struct Files(Vec<(Url, Rc<SealedFile>)>);

impl Files {
    /// Returns the file of this URL.
    fn get(&self, url: &Url) -> Option<Rc<SealedFile>> {
        let mut files = self.0.iter();
        let found = files.find(|(known, _)| known == url);
        found.map(|(_, file)| file.clone())
    }

    /// Returns the file of this address, fetched the first time.
    fn get_or(
        &mut self,
        url: &Url,
        fetch: impl FnOnce() -> Result<Option<SealedFile>, Error>,
    ) -> Result<Option<Rc<SealedFile>>, Error> {
        match self.get(url) {
            Some(file) => Ok(Some(file)),
            None => Ok(fetch()?.map(|file| self.add(url, file))),
        }
    }

    /// Stores a file, replacing one with the same URL.
    fn add(&mut self, url: &Url, file: SealedFile) -> Rc<SealedFile> {
        let file = Rc::new(file);
        self.0.retain(|(known, _)| known != url);
        self.0.push((url.clone(), file.clone()));
        file
    }
}

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
                if self.fetcher.hashes {
                    image.hash_beside();
                }
                Ok(image)
            }
        }
    }
}

/// A plan, with the notes and files of its making.
#[derive(Debug)]
struct Planned {
    /// The plan.
    plan: BootPlan,
    /// Which file and line each decision came from.
    notes: Vec<Note>,
    /// The files fetched while planning; parts of the plan may be among them.
    files: Files,
    copies: Copies,
}

/// Largest number of copies of the parts of a plan in memory, besides their files.
#[derive(Debug, Clone, Copy)]
struct Copies(u8);

impl Copies {
    fn of(config: &BootConfig) -> Self {
        Self(match (config.stop_after, config.loader) {
            (Some(Stage::Link | Stage::Lease | Stage::Plan | Stage::Image), _) => 0,
            // Pages that the kernel has copied from this process.
            (Some(Stage::Load) | None, Loader::Segments) => 1,
            // It reads a file into a buffer, and copies that (kernel/kexec_file.c).
            (Some(Stage::Load) | None, Loader::File) => 2,
        })
    }

    /// Returns what memory must have room for besides a part, when other parts have `len` bytes.
    fn room_beside(self, len: u64) -> Room {
        Room {
            copies: self.0,
            beside: len.saturating_mul(self.0.into()),
        }
    }
}

impl Planned {
    /// Adds what becomes of a root that the command line names.
    #[cfg(feature = "root")]
    fn with_note_of_root(mut self) -> Self {
        let command_line = self.plan.with_append(&self.plan.command_line);
        if let Some(text) = root::explain(&words(&command_line)) {
            let place = Place::whole(&self.plan.kernel.url);
            let is_detail = false;
            let note = Note {
                place,
                text,
                is_detail,
            };
            log::info!("{note}");
            self.notes.push(note);
        }
        self
    }

    /// Fetches the parts of the plan that are not among the files yet, the kernel first, and makes
    /// the image of all.
    ///
    /// # Errors
    /// [`Reason::NothingBootable`] if the kernel is none, before anything else is fetched, that of the
    /// first part that cannot be fetched, and those of [`Image::assemble`].
    fn assemble(&mut self, fetcher: &Fetcher) -> Result<Image, Error> {
        self.fetch_parts(|url, max_len, room| fetcher.with_room(room).need(url, max_len))?;
        // No file stays in memory beside the parts that are made from it.
        let files = std::mem::take(&mut self.files);
        Image::assemble(&self.plan, move |url| files.get(url), fetcher.hashes)
    }

    fn fetch_parts(
        &mut self,
        fetch: impl Fn(&Url, u64, Room) -> Result<SealedFile, Error>,
    ) -> Result<(), Error> {
        let mut len = 0;
        for (part, purpose) in self.plan.parts() {
            let file = match self.files.get(&part.url) {
                Some(file) => file,
                None => {
                    let room = self.copies.room_beside(len);
                    let file = fetch(&part.url, purpose.max_len(), room)?;
                    self.files.add(&part.url, file)
                }
            };
            len += file.size().map_err(unreadable)?;
            // The kernel comes first: what goes with it may be gigabytes.
            if purpose == Purpose::Kernel
                && let Some(what) = kernel_refusal(&part.url, &head_of(&file)?)
            {
                return Err(Box::new(Reason::NothingBootable {
                    what: format!("{} {what}", part.url),
                    source: None,
                }));
            }
        }
        Ok(())
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
/// As [`facts()`] and [`drive`].
pub fn follow(
    config: &Config,
    link: &Link,
    lease: &Lease,
    fetcher: Fetcher,
    trust: &Trust,
) -> Result<Planning, Error> {
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

/// Makes the plan; `fetch` returns a file, verified and sealed, or none if the server, which may be
/// silent for the time given, does not have it; `verify` checks one by the signature at the second URL,
/// and `query` answers a question about the network.
///
/// # Errors
/// [`Reason::NothingBootable`] with file, line and word, [`Reason::Instead`] with what the boot file says
/// to do, or the error of the fetch that ended the plan.
fn drive(
    facts: Facts,
    console: Console,
    mut fetch: impl FnMut(&Url, Purpose, Option<Duration>) -> Result<Option<SealedFile>, Error>,
    verify: impl Fn(&Url, &SealedFile, &Url) -> Result<(), Error>,
    query: impl Fn(Query) -> Answer,
) -> Result<Planned, Error> {
    let mut planner = Planner::new(facts);
    let mut files = Files::default();
    let mut logged = 0;
    let mut failed_fetch = None;
    let mut limit = None;
    let mut answer = Answer::Begin;
    loop {
        let step = planner.next(answer);
        for note in planner.notes().iter().skip(logged) {
            let level = if note.is_detail {
                log::Level::Debug
            } else {
                log::Level::Info
            };
            log::log!(level, "{note}");
        }
        logged = planner.notes().len();
        answer = match step {
            Step::Fetch { url, purpose } => {
                failed_fetch = None;
                let limit = limit.take();
                match files.get_or(&url, || fetch(&url, purpose, limit)) {
                    Ok(Some(file)) => answer_of(&file)?,
                    Ok(None) => Answer::Missing,
                    Err(error) => failed(&mut failed_fetch, error),
                }
            }
            Step::Verify { url, signature } => {
                failed_fetch = None;
                let purpose = if url.names_iso() {
                    Purpose::Initrd
                } else {
                    Purpose::BootFile
                };
                let verified = match files.get_or(&url, || fetch(&url, purpose, None)) {
                    Ok(Some(file)) => verify(&url, &file, &signature),
                    Ok(None) => Err(Box::new(Reason::Verification {
                        what: url.to_string(),
                        why: "the server has no such file".to_owned(),
                    })),
                    Err(error) => Err(error),
                };
                match verified {
                    Ok(()) => Answer::Done,
                    Err(error) => failed(&mut failed_fetch, error),
                }
            }
            Step::Menu(menu) => console.menu(menu).map_err(no_terminal)?,
            Step::Prompt { text, key, timeout } => {
                console.prompt(&text, key, timeout).map_err(no_terminal)?
            }
            Step::Input {
                text,
                default,
                is_secret,
                timeout,
            } => console
                .input(&text, &default, is_secret, timeout)
                .map_err(no_terminal)?,
            Step::CommandLine {
                help_keys,
                labels,
                timeout,
                total_timeout,
            } => console
                .command_line(&labels, help_keys, timeout, total_timeout)
                .map_err(no_terminal)?,
            Step::Say(text) => {
                console.say(&text);
                Answer::Done
            }
            Step::Limit(time) => {
                limit = Some(time);
                Answer::Done
            }
            Step::Query(question) => query(question),
            Step::Sleep(time) => console.sleep(time).map_err(no_terminal)?,
            Step::Done(plan) => {
                return Ok(Planned {
                    plan: *plan,
                    notes: planner.notes().to_vec(),
                    files,
                    copies: Copies(0),
                });
            }
            Step::Failed(error) => {
                // The fetch failed, not the plan; its exit code is more specific.
                return Err(failed_fetch.unwrap_or_else(|| match error.outcome {
                    Some(outcome) => Box::new(Reason::Instead {
                        outcome,
                        source: error.into(),
                    }),
                    None => Box::new(Reason::NothingBootable {
                        what: "the boot file leads to no kernel".to_owned(),
                        source: Some(error.into()),
                    }),
                }));
            }
        };
    }
}

/// Prints the plan in the format of `config`.
fn report(config: &Config, plan: &BootPlan, notes: &[Note]) {
    let is_last = config.boot.stop_after == Some(config::Stage::Plan);
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

/// Answers that a fetch failed, and stores the error for the exit code if the plan fails too.
fn failed(failed_fetch: &mut Option<Error>, error: Error) -> Answer {
    let why = error.chain();
    *failed_fetch = Some(error);
    Answer::Failed(why)
}

fn answer_of(file: &SealedFile) -> Result<Answer, Error> {
    let len = file.size().map_err(unreadable)?;
    head_of(file).map(|head| Answer::File { head, len })
}

fn head_of(file: &SealedFile) -> Result<Vec<u8>, Error> {
    file.octets(0..HEAD_LEN as u64).map_err(unreadable)
}

fn unreadable(source: SyscallError) -> Error {
    Box::new(Reason::System {
        doing: "cannot read a fetched file".to_owned(),
        source,
    })
}

fn no_terminal(source: SyscallError) -> Error {
    Box::new(Reason::System {
        doing: "cannot use the terminal".to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::num::NonZeroUsize;

    use super::*;
    use crate::sys::memfd::Memfd;
    use wireboot_proto::format::kernel_image::fixture::{bz_image, bz_image_of};
    use wireboot_proto::packet::ethernet::MacAddress;

    const SCRIPT: &str = "http://192.0.2.1/boot.ipxe";

    #[test]
    fn a_file_is_fetched_once_and_kept_for_the_image() {
        let kernel = bz_image();
        let script = b"#!ipxe\nimgfetch --name a k\nimgfree a\nkernel k\nboot\n";
        let mut fetched = Vec::new();
        let outcome = drive(
            test_facts(),
            Console::Unattended,
            |url, _, _| {
                fetched.push(url.to_string());
                Ok(Some(sealed(if url.to_string() == SCRIPT {
                    script
                } else {
                    &kernel
                })))
            },
            unsigned,
            unanswered,
        )
        .unwrap();
        assert_eq!(fetched, [SCRIPT, "http://192.0.2.1/k"]);
        assert!(outcome.files.get(&outcome.plan.kernel.url).is_some());
        assert!(
            outcome
                .notes
                .iter()
                .any(|note| note.place.line == NonZeroUsize::new(4))
        );
    }

    #[test]
    fn what_is_no_kernel_ends_the_boot_before_its_initrds_are_fetched() {
        let script: &[u8] = b"default a\nlabel a\nkernel disk\nappend initrd=large.img\n";
        let script = |_: &Url, _: Purpose, _| Ok(Some(sealed(script)));
        let mut facts = test_facts();
        facts.boot_file = "http://192.0.2.1/boot".parse().unwrap();
        let mut planned = drive(facts, Console::Unattended, script, unsigned, unanswered).unwrap();
        let fetched = std::cell::RefCell::new(Vec::new());
        let fetch = |url: &Url, _, _| {
            fetched.borrow_mut().push(url.file_name().to_owned());
            Ok(sealed(&bz_image_of(0x203, 0, "MEMDISK 6.04")))
        };
        let error = planned.fetch_parts(fetch).unwrap_err();
        assert_eq!(*fetched.borrow(), ["disk"]);
        assert_eq!(error.exit_code(), 6);
        assert!(error.chain().contains("MEMDISK 6.04"), "{}", error.chain());
    }

    #[test]
    fn memory_is_asked_for_each_part_with_all_copies_of_those_before_it() {
        let script: &[u8] = b"default a\nlabel a\nkernel k\nappend initrd=one,two\n";
        let script = |_: &Url, _: Purpose, _| Ok(Some(sealed(script)));
        let mut facts = test_facts();
        facts.boot_file = "http://192.0.2.1/boot".parse().unwrap();
        let mut planned = drive(facts, Console::Unattended, script, unsigned, unanswered).unwrap();
        let mut boot = BootConfig {
            loader: Loader::File,
            ..BootConfig::default()
        };
        planned.copies = Copies::of(&boot);
        let rooms = std::cell::RefCell::new(Vec::new());
        let kernel = bz_image();
        let fetch = |_: &Url, _, room: Room| {
            rooms.borrow_mut().push((room.copies, room.beside));
            Ok(sealed(&kernel))
        };
        planned.fetch_parts(fetch).unwrap();
        let len = kernel.len() as u64;
        assert_eq!(*rooms.borrow(), [(2, 0), (2, 2 * len), (2, 4 * len)]);
        boot.stop_after = Some(Stage::Image);
        assert_eq!(Copies::of(&boot).0, 0);
    }

    #[test]
    fn a_failed_fetch_is_reported_as_such_and_a_bad_script_with_its_line() {
        let refused = |_: &Url, _: Purpose, _| {
            Err(Box::new(Reason::Fetch {
                url: "x".to_owned(),
                source: "no route".into(),
            }))
        };
        let error = drive(
            test_facts(),
            Console::Unattended,
            refused,
            unsigned,
            unanswered,
        )
        .unwrap_err();
        assert_eq!(error.exit_code(), 7);
        let script = |_: &Url, _: Purpose, _| Ok(Some(sealed(b"#!ipxe\nfrobnicate\n")));
        let error = drive(
            test_facts(),
            Console::Unattended,
            script,
            unsigned,
            unanswered,
        )
        .unwrap_err();
        assert_eq!(error.exit_code(), 6);
        assert!(error.chain().contains("boot.ipxe:2: \"frobnicate\""));
        let exit = |_: &Url, _: Purpose, _| Ok(Some(sealed(b"#!ipxe\nexit\n")));
        let error = drive(
            test_facts(),
            Console::Unattended,
            exit,
            unsigned,
            unanswered,
        )
        .unwrap_err();
        assert_eq!(error.exit_code(), 10);
        assert!(
            error.chain().contains("the local disk"),
            "{}",
            error.chain()
        );
        let missing = |_: &Url, _: Purpose, _| Ok(None);
        let error = drive(
            test_facts(),
            Console::Unattended,
            missing,
            unsigned,
            unanswered,
        )
        .unwrap_err();
        assert_eq!(error.exit_code(), 6);
    }

    #[test]
    fn a_script_that_is_not_what_was_signed_is_not_run() {
        let plan_of = |script: &'static [u8], is_good: bool| {
            let fetch = |url: &Url, _: Purpose, _| {
                let text: &[u8] = match url.file_name() {
                    "boot.ipxe" => script,
                    _ => b"#!ipxe\nfrobnicate\n",
                };
                Ok(Some(sealed(text)))
            };
            let verify = |url: &Url, file: &SealedFile, signature: &Url| {
                assert_eq!(url.file_name(), "next");
                assert_eq!(file.octets(0..6).unwrap(), b"#!ipxe");
                if is_good {
                    return Ok(());
                }
                unsigned(url, file, signature)
            };
            drive(test_facts(), Console::Unattended, fetch, verify, unanswered).unwrap_err()
        };
        let script = b"#!ipxe\nimgverify next next.sig\nchain next\n";
        let error = plan_of(script, false);
        assert_eq!(error.exit_code(), 8);
        assert!(error.chain().contains("next.sig"), "{}", error.chain());
        let error = plan_of(script, true);
        assert!(error.chain().contains("next:2"), "{}", error.chain());
    }

    fn unsigned(url: &Url, _: &SealedFile, signature: &Url) -> Result<(), Error> {
        Err(Box::new(Reason::Verification {
            what: url.to_string(),
            why: format!("there is no {signature}"),
        }))
    }

    fn unanswered(_: Query) -> Answer {
        Answer::Failed("no answer".to_owned())
    }

    fn test_facts() -> Facts {
        let (address, server) = ([192, 0, 2, 2].into(), [192, 0, 2, 1].into());
        Facts::new(SCRIPT.parse().unwrap(), MacAddress([2; 6]), address, server)
    }

    fn sealed(bytes: &[u8]) -> SealedFile {
        let mut file = Memfd::create("test").unwrap();
        file.write_all(bytes).unwrap();
        file.seal().unwrap()
    }
}
