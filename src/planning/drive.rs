//! Drives [`Planner`]: fetches files, shows menus, and stores every file so that none is fetched twice.

#![forbid(unsafe_code)]

use std::time::Duration;

use wireboot_proto::boot::{Answer, Facts, Planner, Purpose, Query, Step};
use wireboot_proto::text::url::Url;

use super::planned::{Copies, Files, Planned, head_of, unreadable};
use crate::console::Console;
use crate::error::{Error, Reason};
use crate::sys::SyscallError;
use crate::sys::memfd::SealedFile;

/// Makes the plan; `fetch` returns a file, verified and sealed, or none if the server, which may be
/// silent for the time given, does not have it; `verify` checks one by the signature at the second URL,
/// and `query` answers a question about the network.
///
/// # Errors
/// [`Reason::NothingBootable`] with file, line and word, [`Reason::Instead`] with what the boot file says
/// to do, or the error of the fetch that ended the plan.
pub(super) fn drive(
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
    use crate::config::{BootConfig, Loader, Stage};
    use crate::sys::memfd::Memfd;
    use wireboot_proto::format::kernel_image::fixture::{bz_image, bz_image_of};
    use wireboot_proto::packet::ethernet::MacAddress;
    use wireboot_proto::worker::Room;

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
