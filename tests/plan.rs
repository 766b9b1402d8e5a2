//! Configurations in the style of what public infrastructure serves, each with the transcript of
//! the plan beside it: what is fetched, said and asked, and what is booted in the end.
//!
//! The server of these tests has the files of the case's folder, and a kernel or an initrd under
//! every other name that is fetched as one, unless `missing` is part of it. Nobody sits at the
//! console. With `BLESS=1` in the environment the transcripts are written anew.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use wireboot::plan::url::Url;
use wireboot::plan::{Answer, Architecture, BootPlan, Facts, Planner, Purpose, Step};

#[test]
fn pxelinux_configurations_lead_to_the_plans_beside_them() {
    check("pxelinux", "cfg", 40);
}

#[test]
fn ipxe_scripts_lead_to_the_plans_beside_them() {
    check("ipxe", "ipxe", 60);
}

#[test]
fn grub_configurations_lead_to_the_plans_beside_them() {
    check("grub", "cfg", 10);
}

#[test]
fn boot_loader_entries_lead_to_the_plans_beside_them() {
    check("bls", "conf", 4);
}

fn check(folder: &str, extension: &str, at_least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(folder);
    let mut cases: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    cases.sort();
    assert!(cases.len() >= at_least, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let transcript = transcript(&case);
        let expected = case.with_extension("plan");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, &transcript).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if transcript != expected {
            wrong.push(format!(
                "{}\n--- expected\n{expected}--- found\n{transcript}",
                case.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Plans the case and returns what happened, a line each.
fn transcript(case: &Path) -> String {
    let name = case.file_name().unwrap().to_str().unwrap();
    let folder = case.parent().unwrap().file_name().unwrap();
    let directory = match folder.to_str().unwrap() {
        "pxelinux" => "tftp://192.0.2.1/tree/pxelinux.cfg",
        "grub" => "tftp://192.0.2.1/tree/grub",
        "bls" => "http://192.0.2.1/tree/loader/entries",
        _ => "http://192.0.2.1/boot",
    };
    let mut planner = Planner::new(facts(&format!("{directory}/{name}")));
    let mut lines = String::new();
    let mut answer = Answer::Begin;
    for _ in 0..20_000 {
        let step = planner.next(answer);
        // --explain and the log put the place in front of the text.
        let place_again = planner
            .notes()
            .iter()
            .find(|note| note.text.starts_with(&note.place.to_string()));
        assert_eq!(place_again, None, "{name}");
        answer = match step {
            Step::Fetch { url, purpose } => {
                let answer = serve(case.parent().unwrap(), &url, purpose);
                let is_missing = answer == Answer::Missing;
                let found = if is_missing { " (missing)" } else { "" };
                writeln!(lines, "fetch {url}{found}").unwrap();
                answer
            }
            Step::Menu(menu) => {
                let title = menu.title.clone().unwrap_or_default();
                writeln!(lines, "menu {title:?} timeout {:?}", menu.timeout).unwrap();
                let answer = menu.unattended();
                for (number, entry) in menu.entries.iter().enumerate() {
                    let is_chosen =
                        matches!(&answer, Answer::Chosen { entry, .. } if *entry == number);
                    let mark = match entry.is_choice {
                        _ if is_chosen => '>',
                        true => '-',
                        false => ' ',
                    };
                    writeln!(lines, "  {mark} {}", entry.text).unwrap();
                }
                answer
            }
            Step::Prompt { text, .. } => {
                writeln!(lines, "prompt {text}").unwrap();
                Answer::TimedOut
            }
            Step::Input { text, .. } => {
                writeln!(lines, "input {text}").unwrap();
                Answer::TimedOut
            }
            Step::Say(text) => {
                writeln!(lines, "say {text}").unwrap();
                Answer::Done
            }
            Step::Sleep(time) => {
                writeln!(lines, "sleep {time:?}").unwrap();
                Answer::Done
            }
            Step::Done(plan) => {
                describe(&mut lines, &plan);
                return shortened(&lines);
            }
            Step::Failed(error) => {
                let kind = if error.is_local_boot {
                    "local"
                } else {
                    "error"
                };
                writeln!(lines, "{kind} {error}").unwrap();
                return shortened(&lines);
            }
        };
    }
    panic!("{name} does not end");
}

/// Replaces lines that repeat by their number.
fn shortened(lines: &str) -> String {
    let lines: Vec<&str> = lines.lines().collect();
    let mut short = String::new();
    for run in lines.chunk_by(|a, b| a == b) {
        match run.len() {
            1 => writeln!(short, "{}", run[0]).unwrap(),
            len => writeln!(short, "{} ({len} times)", run[0]).unwrap(),
        }
    }
    short
}

fn describe(lines: &mut String, plan: &BootPlan) {
    let signature = |part: &wireboot::plan::Part| match &part.signature {
        Some(url) => format!(" signed by {url}"),
        None => String::new(),
    };
    writeln!(
        lines,
        "kernel {:?}{}",
        plan.kernel.url,
        signature(&plan.kernel)
    )
    .unwrap();
    for initrd in &plan.initrds {
        write!(lines, "initrd {:?}{}", initrd.url, signature(initrd)).unwrap();
        if let Some(place) = &initrd.placement {
            write!(lines, " at {} mode {:o}", place.path, place.mode).unwrap();
            write!(lines, " mkdir {:?}", place.make_directories).unwrap();
        }
        lines.push('\n');
    }
    if let Some(tree) = &plan.device_tree {
        writeln!(lines, "device tree {}", tree.url).unwrap();
    }
    writeln!(lines, "command line {}", plan.command_line).unwrap();
}

fn serve(folder: &Path, url: &Url, purpose: Purpose) -> Answer {
    let path = url.path();
    let file = |octets: Vec<u8>| Answer::File {
        len: octets.len() as u64,
        head: octets,
    };
    if let Ok(octets) = fs::read(folder.join(url.file_name()))
        && !url.file_name().is_empty()
    {
        return file(octets);
    }
    let is_text = [".cfg", ".ipxe", ".php", ".conf", "default"]
        .iter()
        .any(|end| path.ends_with(end));
    match purpose {
        _ if path.contains("missing") || is_text => Answer::Missing,
        Purpose::Configuration => Answer::Missing,
        _ if path.ends_with("pxelinux.0") => file(b"\xea\0PXELINUX 6.04".to_vec()),
        _ if path.ends_with(".0") => file(b"\xeb\x10\0\0".to_vec()),
        _ if path.ends_with("vmlinuz") => file(kernel()),
        Purpose::BootFile | Purpose::Kernel => file(kernel()),
        Purpose::DeviceTree => file(b"\xd0\x0d\xfe\xed".to_vec()),
        Purpose::Initrd => file(b"\x1f\x8b\x08".to_vec()),
    }
}

fn kernel() -> Vec<u8> {
    let mut kernel = vec![0; 0x400];
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel
}

fn facts(boot_file: &str) -> Facts {
    let mac = "52:54:00:12:34:56".parse().unwrap();
    let mut facts = Facts::new(
        boot_file.parse().unwrap(),
        mac,
        [192, 0, 2, 21].into(),
        [192, 0, 2, 1].into(),
    );
    facts.interface = "eth0".to_owned();
    facts.gateway = Some([192, 0, 2, 254].into());
    facts.dns = vec![[192, 0, 2, 53].into()];
    facts.domain = Some("example.com".to_owned());
    facts.host_name = Some("node7".to_owned());
    facts.architecture = Architecture::X86_64;
    facts.processor = ("GenuineExample".to_owned(), "Example CPU".to_owned());
    facts.memory_mib = 2048;
    facts.unix_time = 1_700_000_000;
    facts.card = Some(((0x1af4, 0x1000), "virtio_net".to_owned()));
    for (name, text) in [
        ("product_uuid", "B8945908-D6A6-41A9-611D-74A6AB80B83D"),
        ("sys_vendor", "Example Corp."),
        ("product_name", "Rack Server 9000"),
        ("product_serial", "SN-0042"),
        ("chassis_asset_tag", "A-17"),
    ] {
        facts.smbios.insert(name.to_owned(), text.to_owned());
    }
    facts.options.insert(17, b"/srv/root".to_vec());
    facts.options.insert(175, vec![177, 2, 0x10, 0x20, 255]);
    facts.options.insert(224, b"rack=4".to_vec());
    facts
}
