//! Boot files as sites serve them, each in a folder with what it must lead to (tests/data/README.md):
//! the files and the command line of the plan, or why there is none.
//!
//! The server has the files of the folder, under any host name; all else is made up from its name: a
//! kernel, an initrd, or nothing where it is a configuration. Nobody sits at the console.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use wireboot_proto::boot::{
    Answer, Architecture, BootPlan, Facts, HEAD_LEN, Planner, Step, kernel_refusal,
};
use wireboot_proto::format::kernel_image::fixture::{bz_image, bz_image_of};
use wireboot_proto::text::url::Url;

/// Limit of steps: a plan that needs more does not end.
const MAX_STEPS: usize = 20_000;

#[test]
fn boot_files_of_sites_lead_to_what_is_expected_of_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/boot");
    let mut wrong = Vec::new();
    let mut count = 0;
    for loader in folders(&root) {
        for case in folders(&loader) {
            count += 1;
            let expected = fs::read_to_string(case.join("expect")).unwrap();
            let expected = expected.lines().map(str::trim);
            let expected: Vec<_> = expected
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .collect();
            let found = plan(&case);
            let is_right = match (expected.as_slice(), &found) {
                ([failure], Err(error)) => {
                    (failure.strip_prefix("fail ")).is_some_and(|part| error.contains(part))
                }
                (lines, Ok(found)) => lines == found,
                (_, Err(_)) => false,
            };
            if !is_right {
                wrong.push(format!("{}\n{expected:#?}\n{found:#?}", case.display()));
            }
        }
    }
    assert!(count >= 30, "only {count} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = paths.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// Returns the lines of the plan of a case, or why there is none.
fn plan(case: &Path) -> Result<Vec<String>, String> {
    let options: BTreeMap<String, serde_json::Value> = fs::read(case.join("case.json"))
        .map_or_else(
            |_| BTreeMap::new(),
            |text| serde_json::from_slice(&text).unwrap(),
        );
    let option = |name: &str| options.get(name).and_then(serde_json::Value::as_str);
    let scheme = option("scheme").unwrap_or("http");
    let file = option("file").unwrap_or("boot");
    let is_efi = options.get("efi") == Some(&true.into());
    let mut planner = Planner::new(facts(&format!("{scheme}://192.0.2.1/{file}"), is_efi));
    let mut answer = Answer::Begin;
    for _ in 0..MAX_STEPS {
        answer = match planner.next(answer) {
            Step::Fetch { url, .. } => serve(case, &url),
            Step::Menu(menu) => menu.unattended(),
            Step::Prompt { .. } | Step::Input { .. } | Step::CommandLine { .. } => Answer::TimedOut,
            Step::Verify { .. } => Answer::Failed("no such signature".to_owned()),
            Step::Say(_) | Step::Sleep(_) => Answer::Done,
            Step::Done(plan) => return judged(case, &plan),
            Step::Failed(error) => return Err(error.to_string()),
        };
    }
    panic!("{} does not end", case.display());
}

/// Returns the lines of a plan whose kernel is one, as the boot fetches it first.
fn judged(case: &Path, plan: &BootPlan) -> Result<Vec<String>, String> {
    let Answer::File { head, .. } = serve(case, &plan.kernel.url) else {
        return Err(format!("{} is missing", plan.kernel.url));
    };
    if let Some(what) = kernel_refusal(&plan.kernel.url, &head) {
        return Err(format!("{} {what}", plan.kernel.url));
    }
    let mut lines = vec![format!("kernel {}", plan.kernel.url)];
    for initrd in &plan.initrds {
        let path = initrd.placement.as_ref();
        let path = path.map_or(String::new(), |place| format!(" as {}", place.path));
        lines.push(format!("initrd {}{path}", initrd.url));
    }
    let words: Vec<_> = plan.command_line.split_whitespace().collect();
    lines.push(format!("cmdline {}", words.join(" ")).trim_end().to_owned());
    lines.extend(
        plan.device_tree
            .iter()
            .map(|tree| format!("fdt {}", tree.url)),
    );
    Ok(lines)
}

fn serve(case: &Path, url: &Url) -> Answer {
    let path = url.path().trim_start_matches('/');
    let octets = fs::read(case.join(path)).ok().filter(|_| !path.is_empty());
    let Some(octets) = octets.or_else(|| made_up(path)) else {
        return Answer::Missing;
    };
    Answer::File {
        len: octets.len() as u64,
        head: octets.into_iter().take(HEAD_LEN).collect(),
    }
}

/// Returns the content of a file that no case has, by its name.
fn made_up(path: &str) -> Option<Vec<u8>> {
    let name = path.rsplit('/').next()?.to_ascii_lowercase();
    let ends_with = |endings: &str| endings.split(' ').any(|ending| name.ends_with(ending));
    let is_configuration = path.contains("pxelinux.cfg/") || name.contains("grub.cfg");
    if is_configuration || name.is_empty() || name.contains("missing") {
        return None;
    }
    if ends_with(".ipxe .cfg .conf .php .txt .msg .c32 .lst .sig .json .html .mod .png .env") {
        return None;
    }
    Some(match name.as_str() {
        name if name.starts_with("memdisk") => bz_image_of(0x203, 0, "MEMDISK 6.04"),
        name if name.starts_with("wimboot") => bz_image_of(0x206, 0, "wimboot"),
        _ if path.contains("i386") && name.contains("vmlinuz") => {
            bz_image_of(0x20c, 2, "6.1.0-686")
        }
        _ if ends_with(".lkrn") => bz_image_of(0x203, 0, "iPXE"),
        _ if ends_with(".iso") => [&[0; 0x8001][..], b"CD001"].concat(),
        _ if ends_with(".efi") => [&b"MZ"[..], &[0; 0x400]].concat(),
        _ if ends_with(".0 .kpxe .pxe .bs .com") => b"\xea\x05\x00\xc0".to_vec(),
        _ if ends_with(".dtb .dtbo") => b"\xd0\x0d\xfe\xed".to_vec(),
        _ if ends_with(".gz .xz .img .cpio .squashfs .wim") || name.contains("initr") => {
            b"070701".to_vec()
        }
        _ => bz_image(),
    })
}

fn facts(boot_file: &str, is_efi: bool) -> Facts {
    let mac = "52:54:00:12:34:56".parse().unwrap();
    let (address, server) = ([192, 0, 2, 21].into(), [192, 0, 2, 1].into());
    let mut facts = Facts::new(boot_file.parse().unwrap(), mac, address, server);
    facts.interface = "eth0".to_owned();
    facts.gateway = Some([192, 0, 2, 254].into());
    facts.host_name = Some("node1".to_owned());
    facts.architecture = Architecture::X86_64;
    facts.cpu_flags = ["fpu", "pae", "lm"].map(str::to_owned).into();
    facts.processors = 2;
    facts.is_efi = is_efi;
    facts
}
