//! Boot files as sites serve them, each in a folder of `tests/data/boot` with what is to come of it.
//!
//! A folder has the file `boot` (or `boot.NAME`), the files that it refers to, and `expect`: the plan,
//! a line each of `kernel URL`, `initrd URL [as PATH]`, `cmdline TEXT` and `fdt URL`; or `local`,
//! `reboot` or `poweroff`; or `fail TEXT`, where the error holds TEXT. Lines with # are comments; `note
//! TEXT` asks for a note that holds TEXT. `case.json` may name the boot file (`file`), the firmware
//! (`efi`) and the scheme (`scheme`). What is not in the folder is made up by its name. A folder NAME.iso is
//! an ISO image.

use std::fs;
use std::path::Path;

use wireboot_proto::boot::{
    Answer, Architecture, BootPlan, Facts, Outcome, PlanPart, Planner, Purpose, Query, Step,
    kernel_refusal,
};
use wireboot_proto::format::kernel_image::fixture::{bz_image, bz_image_of};
use wireboot_proto::text::url::Url;

const SERVER: &str = "192.0.2.1";

#[test]
fn boot_files_lead_where_their_users_expect() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/boot");
    let mut wrong = Vec::new();
    let mut count = 0;
    for language in folders(&root) {
        for case in folders(&language) {
            count += 1;
            let expected = fs::read_to_string(case.join("expect")).unwrap();
            let found = outcome(&case);
            let lines = expected.lines().filter(|line| !line.starts_with('#'));
            let lines = lines.map(str::trim_end).filter(|line| !line.is_empty());
            let (notes, plan): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with("note "));
            let is_plan = match (plan.as_slice(), found.end.as_slice()) {
                ([line], [end]) if line.starts_with("fail ") => {
                    end.starts_with("fail ") && end.contains(&line[5..])
                }
                (plan, end) => plan == end,
            };
            let is_noted = |line: &&str| found.notes.iter().any(|note| note.contains(&line[5..]));
            if !is_plan || !notes.iter().all(is_noted) {
                let (end, notes) = (found.end.join("\n"), found.notes.join("\n"));
                let case = case.display();
                wrong.push(format!(
                    "{case}\n--- expected\n{expected}\n--- found\n{end}\n--- notes\n{notes}\n"
                ));
            }
        }
    }
    assert!(count >= 40, "only {count} cases");
    let (len, wrong) = (wrong.len(), wrong.join("\n"));
    assert!(wrong.is_empty(), "{wrong}\n{len} of {count} are wrong");
}

fn folders(path: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(path).unwrap();
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}

/// The end of a case, as lines of `expect`, and the notes on the way.
struct Found {
    end: Vec<String>,
    notes: Vec<String>,
}

fn outcome(case: &Path) -> Found {
    let about = fs::read(case.join("case.json")).unwrap_or_else(|_| b"{}".to_vec());
    let about: serde_json::Value = serde_json::from_slice(&about).unwrap();
    let text = |key: &str| about[key].as_str().map(str::to_owned);
    let boot = text("file").unwrap_or_else(|| {
        let mut names = fs::read_dir(case).unwrap().map(|entry| {
            let name = entry.unwrap().file_name();
            name.into_string().unwrap()
        });
        let is_boot = |name: &String| name == "boot" || name.starts_with("boot.");
        names.find(is_boot).expect("a boot file")
    });
    let scheme = text("scheme").unwrap_or_else(|| "http".to_owned());
    let mut facts = facts(&format!("{scheme}://{SERVER}/{boot}"));
    facts.is_efi = about["efi"].as_bool().unwrap_or(false);
    let mut planner = Planner::new(facts);
    let mut answer = Answer::Begin;
    for _ in 0..20_000 {
        let step = planner.next(answer);
        answer = match step {
            Step::Fetch { url, purpose } => serve(case, &url, purpose),
            // Nobody sits at the console.
            Step::Menu(menu) => menu.unattended(),
            Step::Prompt { .. } | Step::Input { .. } | Step::CommandLine { .. } => Answer::TimedOut,
            Step::Verify { signature, .. }
                if serve(case, &signature, Purpose::Configuration) != Answer::Missing =>
            {
                Answer::Done
            }
            Step::Verify { url, signature } => {
                Answer::Failed(format!("there is no signature {signature} of {url}"))
            }
            Step::Query(Query::Address(host)) if host.ends_with(".example.com") => {
                Answer::Text("192.0.2.77".to_owned())
            }
            Step::Query(Query::Echo { host, .. }) if host == SERVER => Answer::Done,
            Step::Query(_) => Answer::Failed("there is no answer".to_owned()),
            Step::Say(_) | Step::Sleep(_) | Step::Limit(_) => Answer::Done,
            Step::Done(plan) => {
                // As the boot does, which fetches the kernel first.
                let lines = match refusal(case, &plan.kernel.url) {
                    Some(why) => vec![format!("fail {why}")],
                    None => lines_of(&plan),
                };
                return found(lines, &planner);
            }
            Step::Failed(error) => {
                let line = match error.outcome {
                    Some(Outcome::LocalBoot) => "local".to_owned(),
                    Some(Outcome::Reboot) => "reboot".to_owned(),
                    Some(Outcome::PowerOff) => "poweroff".to_owned(),
                    None => format!("fail {error}"),
                };
                return found(vec![line], &planner);
            }
        };
    }
    panic!("{} does not end", case.display());
}

/// Returns why the file cannot be started as a kernel.
fn refusal(case: &Path, url: &Url) -> Option<String> {
    let Answer::File { head, .. } = serve(case, url, Purpose::Kernel) else {
        return Some(format!("{url} is missing"));
    };
    kernel_refusal(url, &head).map(|what| format!("{url} {what}"))
}

fn found(end: Vec<String>, planner: &Planner) -> Found {
    let notes = planner.notes().iter().map(ToString::to_string).collect();
    Found { end, notes }
}

fn lines_of(plan: &BootPlan) -> Vec<String> {
    let place = |part: &PlanPart| match &part.placement {
        Some(place) => format!(" as {}", place.path),
        None => String::new(),
    };
    let mut lines = vec![format!("kernel {}", plan.kernel.url)];
    let initrds = plan.initrds.iter();
    lines.extend(initrds.map(|part| format!("initrd {}{}", part.url, place(part))));
    lines.push(
        format!("cmdline {}", plan.command_line)
            .trim_end()
            .to_owned(),
    );
    let tree = plan.device_tree.iter();
    lines.extend(tree.map(|part| format!("fdt {}", part.url)));
    lines
}

fn facts(boot_file: &str) -> Facts {
    let mac = "52:54:00:12:34:56".parse().unwrap();
    let (address, server) = ([192, 0, 2, 21].into(), [192, 0, 2, 1].into());
    let mut facts = Facts::new(boot_file.parse().unwrap(), mac, address, server);
    facts.architecture = Architecture::X86_64;
    facts.interface = "eth0".to_owned();
    facts.host_name = Some("node7".to_owned());
    facts.options.insert(12, b"node7".to_vec());
    facts.options.insert(2, vec![0, 0, 14, 16]);
    facts.domain = Some("example.org".to_owned());
    facts.gateway = Some([192, 0, 2, 254].into());
    facts.dns = vec![server];
    facts.cpu_flags = ["fpu", "pae", "lm"].map(str::to_owned).into();
    facts.processors = 2;
    for (name, text) in [
        ("product_uuid", "B8945908-D6A6-41A9-611D-74A6AB80B83D"),
        ("product_serial", "SN-0042"),
        ("product_name", "Rack 9000"),
        ("sys_vendor", "Example Corp."),
        ("chassis_type", "23"),
        ("chassis_asset_tag", "rack 4 #7"),
    ] {
        facts.smbios.insert(name.to_owned(), text.to_owned());
    }
    facts
}

/// Returns the file from the folder of the case, or one that is made up.
fn serve(case: &Path, url: &Url, purpose: Purpose) -> Answer {
    if let (Some(image), Some(path)) = (url.image(), url.path_in_image()) {
        let image = image.path().trim_start_matches('/');
        return serve_from_image(&case.join(image), path);
    }
    let path = url.path().trim_start_matches('/');
    let mut local = case.join(path);
    if local.is_dir() {
        local = local.join("index.html");
    }
    if !path.contains("..")
        && let Ok(octets) = fs::read(local)
    {
        return file(octets);
    }
    match made_up(path) {
        Some(octets) if purpose != Purpose::Configuration => file(octets),
        _ => Answer::Missing,
    }
}

/// Returns the file or the listing of a folder that stands for an ISO image; one that is made up holds
/// nothing that can be read.
fn serve_from_image(image: &Path, path: &str) -> Answer {
    if !image.is_dir() {
        return Answer::Failed("it is no ISO 9660 image".to_owned());
    }
    let local = image.join(path.trim_start_matches('/'));
    let Ok(entries) = fs::read_dir(&local) else {
        let found = fs::read(&local).ok().or_else(|| made_up(path));
        return found.map_or(Answer::Missing, file);
    };
    let mut names: Vec<_> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            let slash = if entry.path().is_dir() { "/" } else { "" };
            format!("{}{slash}\n", entry.file_name().into_string().unwrap())
        })
        .collect();
    names.sort();
    file(names.concat().into_bytes())
}

fn file(octets: Vec<u8>) -> Answer {
    Answer::File {
        len: octets.len() as u64,
        head: octets,
    }
}

/// Endings of texts, which a server has only if they are in the folder.
const TEXTS: &str =
    "ipxe cfg conf php txt sig asc minisig yaml ign ks json lst msg html sh env c32 mod png";

fn made_up(path: &str) -> Option<Vec<u8>> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    if name.is_empty()
        || TEXTS.split(' ').any(|text| ending == text)
        || path.contains("pxelinux.cfg/")
        || name.contains("missing")
    {
        return None;
    }
    if name.starts_with("memdisk") || name.starts_with("wimboot") {
        return Some(bz_image_of(0x203, 0, "MEMDISK 6.04"));
    }
    if path.contains("i386") && name.contains("vmlinuz") {
        return Some(bz_image_of(0x20c, 2, "6.1.0-686"));
    }
    Some(match ending {
        "lkrn" => bz_image_of(0x203, 0, "iPXE"),
        "iso" => [vec![0; 0x8001], b"CD001".to_vec(), vec![0; 0x800]].concat(),
        "efi" if !name.contains("linux") => [&b"MZ"[..], &[0; 0x400]].concat(),
        "0" if name.contains("pxelinux") => b"\xea\0PXELINUX 6.04\0".to_vec(),
        "0" | "pxe" | "kpxe" | "kkpxe" | "bs" | "com" => [0xea, 5, 0, 0xc0, 7].repeat(50),
        "dtb" | "dtbo" => [&b"\xd0\x0d\xfe\xed"[..], &[0; 60]].concat(),
        "gz" | "img" | "xz" | "cpio" | "squashfs" | "wim" => b"070701".repeat(20),
        _ if name.contains("initr") || name == "ird" => b"070701".repeat(20),
        _ => bz_image(),
    })
}
