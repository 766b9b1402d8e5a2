//! Boot files in the style of what sites serve, each a folder of `tests/data/boot/LOADER`, with the
//! plan that its users get beside it.
//!
//! `boot` is the boot file, at the top of the server, unless `case.json` names another
//! (`{"file": "…", "efi": true}`). Other files of the folder are on the server under their paths; of
//! the rest it has kernels and initrds, but no text, and nothing with `missing` in its name. Nobody
//! sits at the console. `expect` has the whole plan, a line each:
//!
//! ```text
//! kernel URL | initrd URL [as PATH] | cmdline TEXT
//! fail TEXT    no plan: the error has this text
//! note TEXT    --explain has this text, wherever the plan ends
//! # what this is about
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use wireboot_proto::boot::{Answer, Architecture, Facts, Planner, Purpose, Step};
use wireboot_proto::text::url::Url;

const SERVER: &str = "http://192.0.2.1";

#[test]
fn boot_files_of_sites_lead_to_the_plans_that_their_users_get() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/boot");
    let mut wrong = Vec::new();
    let mut count = 0;
    for loader in folders(&folder) {
        for case in folders(&loader) {
            count += 1;
            let expected = fs::read_to_string(case.join("expect")).unwrap();
            let (found, notes) = plan(&case);
            let differences = differences(&expected, &found, &notes);
            if !differences.is_empty() {
                let name = case.strip_prefix(&folder).unwrap().display();
                wrong.push(format!("{name}\n{differences}"));
            }
        }
    }
    assert!(count >= 130, "only {count} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}

/// Returns what is expected and not found, and the plan if it is another.
fn differences(expected: &str, found: &[String], notes: &str) -> String {
    let lines = expected.lines().filter(|line| !line.starts_with('#'));
    let (wanted_notes, plan): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with("note "));
    let is_plan = match plan.as_slice() {
        [line] if line.starts_with("fail ") => {
            found.len() == 1 && found[0].starts_with("fail ") && found[0].contains(&line[5..])
        }
        plan => plan == found,
    };
    let mut text = String::new();
    if !is_plan {
        text += &format!(
            "--- expected\n{}\n--- found\n{}\n",
            plan.join("\n"),
            found.join("\n")
        );
    }
    for note in wanted_notes
        .iter()
        .filter(|note| !notes.contains(&note[5..]))
    {
        text += &format!("--- no {note} in\n{notes}\n");
    }
    text
}

/// Returns the plan in lines, and its notes.
fn plan(case: &Path) -> (Vec<String>, String) {
    let settings = fs::read_to_string(case.join("case.json")).unwrap_or_default();
    let file = settings
        .split_once("\"file\": \"")
        .and_then(|(_, rest)| rest.split_once('"'));
    let file = file.map_or("boot", |(file, _)| file);
    let mac = "52:54:00:12:34:56".parse().unwrap();
    let (address, server) = ([192, 0, 2, 21].into(), [192, 0, 2, 1].into());
    let url = format!("{SERVER}/{file}").parse().unwrap();
    let mut facts = Facts::new(url, mac, address, server);
    facts.architecture = Architecture::X86_64;
    facts.is_efi = settings.contains("\"efi\": true");
    facts.host_name = Some("node7".to_owned());
    facts.options.insert(12, b"node7".to_vec());
    facts.options.insert(2, vec![0, 0, 14, 16]);
    for (name, text) in [
        ("sys_vendor", "Example Corp."),
        ("product_name", "Rack 9000"),
        ("product_uuid", "B8945908-D6A6-41A9-611D-74A6AB80B83D"),
        ("product_serial", "SN-0042"),
        ("chassis_type", "23"),
    ] {
        facts.smbios.insert(name.to_owned(), text.to_owned());
    }
    let mut planner = Planner::new(facts);
    let mut answer = Answer::Begin;
    for _ in 0..10_000 {
        answer = match planner.next(answer) {
            Step::Fetch { url, purpose } => serve(case, &url, purpose),
            Step::Menu(menu) => menu.unattended(),
            Step::Prompt { .. } | Step::Input { .. } | Step::CommandLine { .. } => Answer::TimedOut,
            Step::Verify { .. } => Answer::Failed("there is no key".to_owned()),
            Step::Say(_) | Step::Sleep(_) => Answer::Done,
            Step::Done(plan) => {
                let mut lines = vec![format!("kernel {}", plan.kernel.url)];
                for initrd in &plan.initrds {
                    let place = initrd.placement.as_ref();
                    let place = place.map_or(String::new(), |place| format!(" as {}", place.path));
                    lines.push(format!("initrd {}{place}", initrd.url));
                }
                let command_line = format!("cmdline {}", plan.command_line);
                lines.push(command_line.trim_end().to_owned());
                return (lines, notes(&planner));
            }
            Step::Failed(error) => return (vec![format!("fail {error}")], notes(&planner)),
        };
    }
    panic!("{} does not end", case.display());
}

fn notes(planner: &Planner) -> String {
    let notes = planner.notes().iter().map(ToString::to_string);
    notes.collect::<Vec<_>>().join("\n")
}

fn serve(case: &Path, url: &Url, purpose: Purpose) -> Answer {
    let path = url.path().trim_start_matches('/');
    let file = |octets: Vec<u8>| Answer::File {
        len: octets.len() as u64,
        head: octets,
    };
    let mut name = case.join(path);
    if name.is_dir() {
        name = name.join("index.html");
    }
    if let Ok(octets) = fs::read(name) {
        return file(octets);
    }
    let is_text = [".cfg", ".conf", ".ipxe", ".php", ".txt", "env", "/"]
        .iter()
        .any(|end| path.ends_with(end));
    match purpose {
        _ if is_text || path.contains("missing") => Answer::Missing,
        Purpose::Configuration => Answer::Missing,
        _ if path.ends_with(".efi") => file([&b"MZ"[..], &[0; 0x400]].concat()),
        Purpose::BootFile | Purpose::Kernel => {
            let mut kernel = vec![0; 0x400];
            kernel[0x202..0x206].copy_from_slice(b"HdrS");
            file(kernel)
        }
        Purpose::DeviceTree => file(b"\xd0\x0d\xfe\xed".to_vec()),
        Purpose::Initrd => file(b"\x1f\x8b\x08".to_vec()),
    }
}
