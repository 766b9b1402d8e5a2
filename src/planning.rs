//! Drives [`Planner`]: gathers what it may depend on, fetches what it asks for, lets a
//! person choose, and keeps every file, so that none is fetched twice.

#![forbid(unsafe_code)]

use std::net::Ipv4Addr;
use std::rc::Rc;

use crate::config::{self, BootConfig, Config, Report};
use crate::console::Console;
use crate::dhcp::lease::Lease;
use crate::error::Error;
use crate::plan::url::Url;
use crate::plan::{Answer, BootPlan, Facts, HEAD_LEN, Note, Planner, Purpose, Step, report};
use crate::sys::SyscallError;
use crate::sys::firmware::{self, Processor};
use crate::sys::memfd::SealedFile;
use crate::sys::{self, machine};
use crate::wire::ethernet::MacAddress;

/// Texts about the machine that configurations ask for, by their names in `/sys/class/dmi/id`.
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

    /// Keeps a file.
    pub fn add(&mut self, url: &Url, file: SealedFile) -> Rc<SealedFile> {
        let file = Rc::new(file);
        self.0.retain(|(known, _)| known != url);
        self.0.push((url.clone(), file.clone()));
        file
    }
}

/// What came of planning.
#[derive(Debug)]
pub struct Outcome {
    /// The plan.
    pub plan: BootPlan,
    /// Which file and line each decision came from.
    pub notes: Vec<Note>,
    /// What has been fetched on the way; parts of the plan may be among it.
    pub files: Files,
}

/// Gathers what a plan may depend on.
///
/// # Errors
/// [`Error::NothingBootable`] when neither lease nor configuration name a boot file, or the name
/// is no address.
pub fn facts(
    config: &BootConfig,
    interface: &str,
    mac: MacAddress,
    lease: &Lease,
) -> Result<Facts, Error> {
    let (name, url) = boot_file(config, lease)?;
    let next_server = lease.next_server.filter(|ip| !ip.is_unspecified());
    // For HTTP boot the server is only known from the address.
    let in_url = || url.host().parse::<Ipv4Addr>().ok();
    let boot_server = next_server.or_else(in_url).unwrap_or(lease.server);
    let mut facts = Facts::new(url, mac, lease.address, boot_server);
    interface.clone_into(&mut facts.interface);
    name.clone_into(&mut facts.boot_file_name);
    facts.prefix_len = lease.prefix_len;
    let default = lease.routes.iter().find(|route| route.prefix_len == 0);
    facts.gateway = default.and_then(|route| route.gateway);
    facts.dhcp_server = lease.server;
    facts.dns.clone_from(&lease.dns);
    facts.domain.clone_from(&lease.domain);
    facts.host_name.clone_from(&lease.host_name);
    let options = lease.options.iter();
    facts.options = options
        .map(|(code, value)| (code, value.to_vec()))
        .collect();
    add_machine(&mut facts);
    facts.append.clone_from(&config.append);
    for name in &config.initrds {
        let url = facts.boot_file.join(name).map_err(|error| {
            let what = format!("the initrd is no address: {error}");
            Error::Usage(what)
        })?;
        facts.initrds.push(url);
    }
    Ok(facts)
}

/// Returns the name of the boot file, and where it is.
fn boot_file<'a>(config: &'a BootConfig, lease: &'a Lease) -> Result<(&'a str, Url), Error> {
    let name = config.file.as_ref().or(lease.boot_file.as_ref());
    let name = name.ok_or_else(|| Error::NothingBootable {
        what: match lease.is_without_dhcp() {
            true => "without DHCP nobody names a boot file; say --boot-file".to_owned(),
            false => format!(
                "the server {} names no boot file (option 67); configure one there, or say \
                 --boot-file",
                lease.server
            ),
        },
        source: None,
    })?;
    let server_name = lease.server_name.as_deref();
    let url = Url::of_boot_file(name, lease.next_server, server_name, lease.server);
    let url = url.map_err(|error| Error::NothingBootable {
        what: "the boot file is no address".to_owned(),
        source: Some(error.into()),
    })?;
    Ok((name, url))
}

/// Adds what the kernel says of this machine.
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
/// have it.
///
/// # Errors
/// [`Error::NothingBootable`] with file, line and word, or the error of the fetch that ended the
/// plan.
pub fn plan(
    facts: Facts,
    console: Console,
    mut fetch: impl FnMut(&Url, Purpose) -> Result<Option<SealedFile>, Error>,
) -> Result<Outcome, Error> {
    let mut planner = Planner::new(facts);
    let mut files = Files::default();
    let mut told = 0;
    let mut failed_fetch = None;
    let mut answer = Answer::Begin;
    loop {
        let step = planner.next(answer);
        for note in planner.notes().iter().skip(told) {
            log::info!("{}: {}", note.place, note.text);
        }
        told = planner.notes().len();
        answer = match step {
            Step::Fetch { url, purpose } => {
                failed_fetch = None;
                match files.get(&url).map(Ok).or_else(|| {
                    let fetched = fetch(&url, purpose).transpose()?;
                    Some(fetched.map(|file| files.add(&url, file)))
                }) {
                    Some(Ok(file)) => answer_of(&file)?,
                    None => Answer::Missing,
                    Some(Err(error)) => {
                        let why = error.chain();
                        failed_fetch = Some(error);
                        Answer::Failed(why)
                    }
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
            Step::Say(text) => {
                console.say(&text);
                Answer::Done
            }
            Step::Sleep(time) => console.sleep(time).map_err(terminal)?,
            Step::Done(plan) => {
                return Ok(Outcome {
                    plan: *plan,
                    notes: planner.notes().to_vec(),
                    files,
                });
            }
            Step::Failed(error) => {
                // What failed is the fetch, not the plan: its exit code tells so.
                return Err(failed_fetch.unwrap_or_else(|| Error::NothingBootable {
                    what: "the plan leads to no kernel".to_owned(),
                    source: Some(error.into()),
                }));
            }
        };
    }
}

/// Prints what `config` wants to see of the plan.
pub fn report(config: &Config, plan: &BootPlan, notes: &[Note]) {
    let is_last = config.boot.stop_after == Some(config::Step::Plan);
    match config.output.report {
        Report::Json if is_last => println!("{}", report::json(plan)),
        Report::Plan if is_last => print!("{}", report::text(plan)),
        Report::Explain => print!("{}{}", report::explain(notes), report::text(plan)),
        Report::Json | Report::Plan => {}
    }
}

fn answer_of(file: &SealedFile) -> Result<Answer, Error> {
    let read = || {
        let head = file.octets(0..HEAD_LEN as u64)?;
        let len = file.size()?;
        Ok(Answer::File { head, len })
    };
    read().map_err(|source| Error::System {
        doing: "cannot read back what was fetched".to_owned(),
        source,
    })
}

fn terminal(source: SyscallError) -> Error {
    Error::System {
        doing: "cannot ask at the terminal".to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::sys::memfd::Memfd;

    const SCRIPT: &str = "http://192.0.2.1/boot.ipxe";

    #[test]
    fn a_file_is_fetched_once_and_kept_for_the_image() {
        let mut kernel = vec![0; 0x300];
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        let script = b"#!ipxe\nimgfetch --name a k\nimgfree a\nkernel k\nboot\n";
        let mut fetched = Vec::new();
        let outcome = plan(test_facts(), Console::Unattended, |url, _| {
            fetched.push(url.to_string());
            Ok(Some(sealed(match url.to_string() == SCRIPT {
                true => script,
                false => &kernel,
            })))
        })
        .unwrap();
        assert_eq!(fetched, [SCRIPT, "http://192.0.2.1/k"]);
        assert!(outcome.files.get(&outcome.plan.kernel.url).is_some());
        assert!(outcome.notes.iter().any(|note| note.place.line == 4));
    }

    #[test]
    fn a_failed_fetch_is_reported_as_such_and_a_bad_script_with_its_line() {
        let refused = |_: &Url, _: Purpose| {
            Err(Error::Fetch {
                url: "x".to_owned(),
                source: "no route".into(),
            })
        };
        let error = plan(test_facts(), Console::Unattended, refused).unwrap_err();
        assert_eq!(error.exit_code(), 7);
        let script = |_: &Url, _: Purpose| Ok(Some(sealed(b"#!ipxe\nfrobnicate\n")));
        let error = plan(test_facts(), Console::Unattended, script).unwrap_err();
        assert_eq!(error.exit_code(), 6);
        assert!(error.chain().contains("boot.ipxe:2: \"frobnicate\""));
        let missing = |_: &Url, _: Purpose| Ok(None);
        let error = plan(test_facts(), Console::Unattended, missing).unwrap_err();
        assert_eq!(error.exit_code(), 6);
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
