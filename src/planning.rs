//! Drives [`Planner`]: collects the facts, fetches files, shows menus, and stores every file so that
//! none is fetched twice.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal, Write};
use std::net::Ipv4Addr;
use std::rc::Rc;

use crate::config::{self, BootConfig, Config, Identify, Report};
use crate::console::Console;
use crate::error::Error;
use crate::sys::SyscallError;
use crate::sys::firmware::{self, Processor};
use crate::sys::memfd::SealedFile;
use crate::sys::{self, machine};
use wireboot_proto::boot::{
    Answer, BootPlan, Facts, HEAD_LEN, Note, Planner, Purpose, Step, expand_settings, report,
};
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::text::url::{Url, UrlError};

/// SMBIOS strings that configurations use, by their names in `/sys/class/dmi/id`.
const SMBIOS: [&str; 16] = [
    "product_uuid",
    "sys_vendor",
    "product_name",
    "product_version",
    "product_serial",
    "product_sku",
    "product_family",
    "board_vendor",
    "board_name",
    "board_version",
    "board_serial",
    "board_asset_tag",
    "chassis_asset_tag",
    "chassis_type",
    "bios_vendor",
    "bios_version",
];

/// The files that have been fetched, by their addresses.
#[derive(Debug, Default)]
pub struct Files(Vec<(Url, Rc<SealedFile>)>);

impl Files {
    /// Returns the file of this address.
    pub fn get(&self, url: &Url) -> Option<Rc<SealedFile>> {
        let mut files = self.0.iter();
        let found = files.find(|(known, _)| known == url);
        found.map(|(_, file)| file.clone())
    }

    /// Returns the file of this address, after a fetch the first time.
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

    /// Stores a file in place of one with the same address.
    pub fn add(&mut self, url: &Url, file: SealedFile) -> Rc<SealedFile> {
        let file = Rc::new(file);
        self.0.retain(|(known, _)| known != url);
        self.0.push((url.clone(), file.clone()));
        file
    }
}

/// A plan, with the notes and files of its making.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub plan: BootPlan,
    /// Which file and line each decision came from.
    pub notes: Vec<Note>,
    /// The files fetched while planning; parts of the plan may be among them.
    pub files: Files,
}

impl Planned {
    /// Fetches the parts of the plan that are not among the files yet.
    ///
    /// # Errors
    /// The first error of `fetch`, which gets a URL and the largest length in bytes.
    pub fn fetch_parts(
        &mut self,
        fetch: impl Fn(&Url, u64) -> Result<SealedFile, Error>,
    ) -> Result<(), Error> {
        for (part, purpose) in self.plan.parts() {
            if self.files.get(&part.url).is_none() {
                self.files
                    .add(&part.url, fetch(&part.url, purpose.max_len())?);
            }
        }
        Ok(())
    }
}

/// Collects the facts that a plan depends on.
///
/// # Errors
/// [`Error::NothingBootable`] when neither lease nor configuration has a boot file, or its name is
/// not a valid address.
pub fn facts(
    config: &Config,
    interface: &str,
    mac: MacAddress,
    lease: &Lease,
) -> Result<Facts, Error> {
    let name = boot_file(&config.boot, lease)?;
    let next_server = lease.next_server.filter(|ip| !ip.is_unspecified());
    let dhcp_server = lease.server.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let server = next_server.unwrap_or(dhcp_server);
    // The address may depend on all the other facts.
    let unexpanded = Url::tftp(&server.to_string(), "/").map_err(no_address)?;
    let mut facts = Facts::new(unexpanded, mac, lease.address, server);
    interface.clone_into(&mut facts.interface);
    name.clone_into(&mut facts.boot_file_name);
    facts.prefix_len = lease.prefix_len;
    let default = lease.routes.iter().find(|route| route.prefix_len == 0);
    facts.gateway = default.and_then(|route| route.gateway);
    facts.dhcp_server = dhcp_server;
    facts.dns.clone_from(&lease.dns);
    facts.domain.clone_from(&lease.domain);
    facts.host_name.clone_from(&lease.host_name);
    let options = lease.options.iter();
    facts.options = options
        .map(|(code, value)| (code, value.to_vec()))
        .collect();
    add_machine(&mut facts);
    // iPXE expands settings in the name that a server gives it (fetch_next_server_and_filename).
    let is_ipxe = config.boot.file.is_none() && config.dhcp.identify == Identify::Ipxe;
    let name = if is_ipxe {
        let expanded = expand_settings(name, &facts);
        expanded.map_err(|what| Error::NothingBootable {
            what: format!("the boot file {name:?} cannot be expanded: {what}"),
            source: None,
        })?
    } else {
        name.to_owned()
    };
    facts.boot_file = url_of(&name, lease)?;
    if next_server.is_none()
        && let Ok(address) = facts.boot_file.host().parse()
    {
        // For HTTP boot the server is only known from the address.
        facts.boot_server = address;
    }
    facts.append.clone_from(&config.boot.append);
    for name in &config.boot.initrds {
        let url = facts.boot_file.join(name).map_err(|error| {
            let what = format!("the initrd is not a valid address: {error}");
            Error::Usage(what)
        })?;
        facts.initrds.push(url);
    }
    Ok(facts)
}

/// Returns the name of the boot file.
fn boot_file<'a>(config: &'a BootConfig, lease: &'a Lease) -> Result<&'a str, Error> {
    let name = config.file.as_ref().or(lease.boot_file.as_ref());
    let name = name.ok_or_else(|| Error::NothingBootable {
        what: if lease.is_without_dhcp() {
            "without DHCP there is no boot file; use --boot-file".to_owned()
        } else {
            format!(
                "the server {} names no boot file (option 67); configure one there, or use \
                 --boot-file",
                lease.server_text()
            )
        },
        source: None,
    })?;
    Ok(name)
}

/// Returns where the boot file of this name is.
fn url_of(name: &str, lease: &Lease) -> Result<Url, Error> {
    let server_name = lease.server_name.as_deref();
    let server = lease.server.unwrap_or(Ipv4Addr::UNSPECIFIED);
    Url::of_boot_file(name, lease.next_server, server_name, server).map_err(no_address)
}

fn no_address(error: UrlError) -> Error {
    Error::NothingBootable {
        what: "the boot file is not a valid address".to_owned(),
        source: Some(error.into()),
    }
}

/// Adds what the kernel reports about this machine.
fn add_machine(facts: &mut Facts) {
    let smbios = |name| Some((str::to_owned(name), firmware::smbios(name)?));
    facts.smbios = SMBIOS.into_iter().filter_map(smbios).collect();
    let processor = Processor::first();
    let field = |name| processor.field(name).to_owned();
    facts.processor = (field("vendor_id"), field("model name"));
    let flags = processor.field("flags").split_whitespace();
    facts.cpu_flags = flags.map(str::to_owned).collect();
    facts.memory_mib = machine::total_memory().unwrap_or(0) >> 20;
    facts.unix_time = sys::since_1970().as_secs();
    facts.card = firmware::pci_card(&facts.interface).map(|card| (card.id, card.driver));
    facts.is_efi = firmware::is_efi();
}

/// Makes the plan; `fetch` returns a file, verified and sealed, or none when the server does not
/// have it, and `verify` checks one by the signature at the second address, when the plan asks for
/// that.
///
/// # Errors
/// [`Error::NothingBootable`] with file, line and word, or the error of the fetch that ended the
/// plan.
pub fn plan(
    facts: Facts,
    console: Console,
    mut fetch: impl FnMut(&Url, Purpose) -> Result<Option<SealedFile>, Error>,
    verify: impl Fn(&Url, &SealedFile, &Url) -> Result<(), Error>,
) -> Result<Planned, Error> {
    let mut planner = Planner::new(facts);
    let mut files = Files::default();
    let mut logged = 0;
    let mut failed_fetch = None;
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
                match files.get_or(&url, || fetch(&url, purpose)) {
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
                let verified = match files.get_or(&url, || fetch(&url, purpose)) {
                    Ok(Some(file)) => verify(&url, &file, &signature),
                    Ok(None) => Err(Error::Verification {
                        what: url.to_string(),
                        why: "the server has no such file".to_owned(),
                    }),
                    Err(error) => Err(error),
                };
                match verified {
                    Ok(()) => Answer::Done,
                    Err(error) => failed(&mut failed_fetch, error),
                }
            }
            Step::Menu(menu) => console.menu(menu).map_err(terminal)?,
            Step::Prompt { text, key, timeout } => {
                console.prompt(&text, key, timeout).map_err(terminal)?
            }
            Step::Input {
                text,
                default,
                is_secret,
                timeout,
            } => console
                .input(&text, &default, is_secret, timeout)
                .map_err(terminal)?,
            Step::CommandLine {
                labels,
                timeout,
                total_timeout,
            } => console
                .command_line(&labels, timeout, total_timeout)
                .map_err(terminal)?,
            Step::Say(text) => {
                console.say(&text);
                Answer::Done
            }
            Step::Sleep(time) => console.sleep(time).map_err(terminal)?,
            Step::Done(plan) => {
                return Ok(Planned {
                    plan: *plan,
                    notes: planner.notes().to_vec(),
                    files,
                });
            }
            Step::Failed(error) => {
                // The fetch failed, not the plan; its exit code is more specific.
                return Err(failed_fetch.unwrap_or_else(|| Error::NothingBootable {
                    what: "no kernel to boot".to_owned(),
                    source: Some(error.into()),
                }));
            }
        };
    }
}

/// Prints what `config` wants to see of the plan.
pub fn report(config: &Config, plan: &BootPlan, notes: &[Note]) {
    let is_last = config.boot.stop_after == Some(config::Step::Plan);
    let text = match config.output.report {
        Report::Json if is_last => report::json(plan) + "\n",
        Report::Plan if is_last => report::text(plan),
        // At a terminal the log has just shown each of them.
        Report::Explain if is_log_beside_output() => report::text(plan),
        Report::Explain => report::explain(notes) + &report::text(plan),
        Report::Json | Report::Plan => return,
    };
    // A reader such as head may have closed the pipe, which is no reason to panic.
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Returns whether the log is on the screen that standard output goes to.
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
    let read = || {
        let head = file.octets(0..HEAD_LEN as u64)?;
        let len = file.size()?;
        Ok(Answer::File { head, len })
    };
    read().map_err(|source| Error::System {
        doing: "cannot read a fetched file".to_owned(),
        source,
    })
}

fn terminal(source: SyscallError) -> Error {
    Error::System {
        doing: "cannot use the terminal".to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::num::NonZeroUsize;

    use super::*;
    use crate::sys::memfd::Memfd;

    const SCRIPT: &str = "http://192.0.2.1/boot.ipxe";

    #[test]
    fn a_file_is_fetched_once_and_kept_for_the_image() {
        let mut kernel = vec![0; 0x300];
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        let script = b"#!ipxe\nimgfetch --name a k\nimgfree a\nkernel k\nboot\n";
        let mut fetched = Vec::new();
        let outcome = plan(
            test_facts(),
            Console::Unattended,
            |url, _| {
                fetched.push(url.to_string());
                Ok(Some(sealed(if url.to_string() == SCRIPT {
                    script
                } else {
                    &kernel
                })))
            },
            unsigned,
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
    fn a_failed_fetch_is_reported_as_such_and_a_bad_script_with_its_line() {
        let refused = |_: &Url, _: Purpose| {
            Err(Error::Fetch {
                url: "x".to_owned(),
                source: "no route".into(),
            })
        };
        let error = plan(test_facts(), Console::Unattended, refused, unsigned).unwrap_err();
        assert_eq!(error.exit_code(), 7);
        let script = |_: &Url, _: Purpose| Ok(Some(sealed(b"#!ipxe\nfrobnicate\n")));
        let error = plan(test_facts(), Console::Unattended, script, unsigned).unwrap_err();
        assert_eq!(error.exit_code(), 6);
        assert!(error.chain().contains("boot.ipxe:2: \"frobnicate\""));
        let missing = |_: &Url, _: Purpose| Ok(None);
        let error = plan(test_facts(), Console::Unattended, missing, unsigned).unwrap_err();
        assert_eq!(error.exit_code(), 6);
    }

    #[test]
    fn settings_in_the_boot_file_of_a_lease_are_expanded_for_ipxe_alone() {
        let address = [192, 0, 2, 2].into();
        let mut lease = Lease::fixed(address, 24);
        lease.server = Some([192, 0, 2, 1].into());
        lease.host_name = Some("node 7".to_owned());
        lease
            .options
            .set(17, *b"nfs://${next-server}/${mac:hexraw}");
        let facts_of = |name: &str, config: &Config| {
            let mut lease = lease.clone();
            lease.boot_file = Some(name.to_owned());
            facts(config, "eth0", MacAddress([0x52, 0x54, 0, 1, 2, 3]), &lease)
        };
        let ipxe = Config::for_boot();
        for (name, expected) in [
            (
                "http://${next-server}/ipxe/${mac:hexhyp}?name=${hostname:uristring}&none=${17.1}",
                "http://192.0.2.1/ipxe/52-54-00-01-02-03?name=node%207&none=",
            ),
            (
                "${net0/mac:hex}.ipxe",
                "tftp://192.0.2.1/52:54:00:01:02:03.ipxe",
            ),
            ("at/${ip}/${open", "tftp://192.0.2.1/at/192.0.2.2/${open"),
            ("${root-path}/x", "nfs://192.0.2.1/525400010203"),
            ("plain$.0", "tftp://192.0.2.1/plain$.0"),
        ] {
            match facts_of(name, &ipxe) {
                Ok(facts) => {
                    assert_eq!(facts.boot_file.to_string(), expected);
                    assert_eq!(facts.boot_file_name, name);
                }
                Err(error) => assert!(error.chain().contains(expected), "{}", error.chain()),
            }
        }
        let mut other = Config::for_boot();
        for identify in [Identify::Pxe, Identify::Http, Identify::Plain] {
            other.dhcp.identify = identify;
            let facts = facts_of("/${mac:hexhyp}", &other).unwrap();
            assert_eq!(
                facts.boot_file.to_string(),
                "tftp://192.0.2.1//${mac:hexhyp}"
            );
        }
        // What the user names is meant as it is.
        other.dhcp.identify = Identify::Ipxe;
        other.boot.file = Some("a${mac}".to_owned());
        let facts = facts_of("x", &other).unwrap();
        assert_eq!(facts.boot_file.to_string(), "tftp://192.0.2.1/a${mac}");
    }

    #[test]
    fn a_script_that_is_not_what_was_signed_is_not_run() {
        let plan_of = |script: &'static [u8], is_good: bool| {
            let fetch = |url: &Url, _: Purpose| {
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
            plan(test_facts(), Console::Unattended, fetch, verify).unwrap_err()
        };
        let script = b"#!ipxe\nimgverify next next.sig\nchain next\n";
        let error = plan_of(script, false);
        assert_eq!(error.exit_code(), 8);
        assert!(error.chain().contains("next.sig"), "{}", error.chain());
        let error = plan_of(script, true);
        assert!(error.chain().contains("next:2"), "{}", error.chain());
    }

    fn unsigned(url: &Url, _: &SealedFile, signature: &Url) -> Result<(), Error> {
        Err(Error::Verification {
            what: url.to_string(),
            why: format!("there is no {signature}"),
        })
    }

    fn test_facts() -> Facts {
        let (address, server) = ([192, 0, 2, 2].into(), [192, 0, 2, 1].into());
        Facts::new(SCRIPT.parse().unwrap(), MacAddress([2; 6]), address, server)
    }

    fn sealed(octets: &[u8]) -> SealedFile {
        let mut file = Memfd::create("test").unwrap();
        file.write_all(octets).unwrap();
        file.seal().unwrap()
    }
}
