//! Configurations in the style of public infrastructure (tests/data/README.md), each with the
//! transcript of its plan beside it: what is fetched, shown and asked, and what is booted.
//!
//! The server of these tests has the files of the case's folder, and a kernel or an initrd under
//! every other name that is fetched as one, unless `missing` is part of it. Nobody sits at the
//! console. With `BLESS=1` in the environment the transcripts are written anew.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use wireboot_proto::boot::menu::{Entry, Menu};
use wireboot_proto::boot::{
    Answer, Architecture, BootPlan, Facts, Outcome, Planner, Purpose, Query, Step,
};
use wireboot_proto::format::kernel_image::fixture::bz_image;
use wireboot_proto::text::url::Url;

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

#[test]
fn a_tree_of_menus_leads_to_the_kernel_that_is_chosen() {
    let kernel = "kernel http://mirror.example.com/eight/x86_64/vmlinuz";
    let rescue = "command line ip=dhcp rescue initrd=initrd.magic";
    let menus = ["Linux (64 bits)", "Example Linux 8", "Rescue"];
    let transcript = chosen("menu.ipxe", &menus);
    // The newer loader is a program for the firmware, so the menu goes on with this one.
    let loader = "http://boot.example.com/ipxe/loader-undionly.kpxe";
    assert_in_order(&transcript, &[loader, "Example Site", kernel, rescue]);

    // What cannot be started leads back to the first menu, where another choice boots.
    let mut detour = vec!["Programs", "A memory test"];
    detour.extend(menus);
    let failed = "say That did not work";
    assert_in_order(&chosen("menu.ipxe", &detour), &[failed, kernel, rescue]);

    let other = ["Linux (64 bits)", "Another release", "Text"];
    let kernel = "kernel http://mirror.example.com/typed/x86_64/vmlinuz";
    assert_in_order(&chosen("menu.ipxe", &other), &[kernel]);
    assert_in_order(&chosen("menu.ipxe", &["The local disk"]), &["error"]);
}

fn assert_in_order(transcript: &str, expected: &[&str]) {
    let mut rest = transcript;
    for text in expected {
        let at = rest.find(text);
        let at = at.unwrap_or_else(|| panic!("no {text:?} in\n{transcript}"));
        rest = &rest[at..];
    }
}

/// Texts of 1 MiB, each of which would take hours where the time grows with the square of their
/// length, or where each language had limits of its own.
#[test]
fn a_text_of_a_mebibyte_is_planned_or_refused_in_seconds() {
    const MIB: usize = 1 << 20;
    let fill = |head: &str, piece: &str, tail: &str| {
        let count = (MIB - head.len() - tail.len()) / piece.len();
        format!("{head}{}{tail}", piece.repeat(count))
    };
    let numbered = |head: &str, line: &dyn Fn(usize) -> String, tail: &str| {
        let mut text = head.to_owned();
        for number in 0.. {
            let line = line(number);
            if text.len() + line.len() + tail.len() > MIB {
                break;
            }
            text += &line;
        }
        text + tail
    };
    let again = "set a:uristring %24%7Bb:string%7D%24%7Bb:string%7D\n";
    let doubling = (0..40).map(|n| {
        let line = again.replace("a:", &format!("a{n}:"));
        line.replace("b:", &format!("a{}:", n + 1))
    });
    let doubling = format!("#!ipxe\n{}", doubling.collect::<String>());
    let item = format!("item a {} ||\n", "t".repeat(100));
    let long = "x".repeat(60_000);
    let texts = [
        ("b.ipxe", fill("#!ipxe\necho ", "${x}", "\n")),
        ("b.ipxe", fill("#!ipxe\nset x y\necho ", "${x}", "\n")),
        ("b.ipxe", fill("#!ipxe\necho ", "${", "\n")),
        ("b.ipxe", fill("#!ipxe\necho ", "${", "}}}}}\n")),
        ("b.ipxe", fill("#!ipxe\necho ", "}{", "\n")),
        (
            "b.ipxe",
            fill("#!ipxe\nset x 01234567\n", "set x ${x}${x} ||\n", ""),
        ),
        (
            "b.ipxe",
            fill(&format!("#!ipxe\nset x {long}\n"), "echo ${x}\n", ""),
        ),
        ("b.ipxe", fill("#!ipxe\n:a\n", "echo || ", "\ngoto a\n")),
        ("b.ipxe", fill("#!ipxe\n:a ", "x || ", "\ngoto a\n")),
        ("b.ipxe", fill("#!ipxe\necho ", "\\\n", "\n")),
        (
            "b.ipxe",
            numbered("#!ipxe\n", &|n| format!(":l{n}\n"), "goto l90000\n"),
        ),
        (
            "b.ipxe",
            numbered("#!ipxe\n", &|n| format!("menu --name {n} ||\n"), ""),
        ),
        (
            "b.ipxe",
            fill(
                "#!ipxe\nmenu m\n",
                &item,
                ":c\nchoose --keep y ||\ngoto c\n",
            ),
        ),
        (
            "b.ipxe",
            fill("#!ipxe\n", &item, ":c\npresent --keep ||\ngoto c\n"),
        ),
        ("b.ipxe", fill("#!ipxe\n", "\n", "chain --replace b.ipxe\n")),
        ("b.ipxe", fill(&doubling, "echo ${a0:string} ||\n", "")),
        (
            "grub.cfg",
            fill(&format!("set x={long}\n"), "set y=$x$x$x$x\n", ""),
        ),
        ("grub.cfg", fill("set x=01234567\n", "set x=$x$x\n", "")),
        (
            "grub.cfg",
            fill(
                "set x=\"",
                "a ",
                &format!("\"\n{}", "echo $x\n".repeat(9_000)),
            ),
        ),
        ("grub.cfg", fill("set x=y\necho ", "$x", "\n")),
        ("grub.cfg", fill("set x=y\necho ", "\"$x\"", "\n")),
        ("grub.cfg", fill("function f {\n", "f\n", "}\nset x=y\nf\n")),
        (
            "grub.cfg",
            fill(
                "function f {\necho ",
                "x",
                "\n}\nfunction g {\nf\nf\nf\n}\nfunction h {\ng\ng\ng\n}\nh\nh\n",
            ),
        ),
        ("grub.cfg", fill("set x=y\n", "menuentry a {\n}\n", "")),
        ("grub.cfg", fill("set x=y\n", "if true; then\n", "")),
        ("grub.cfg", fill("set x=y\n", "if false; then x; fi\n", "")),
        ("grub.cfg", fill("set x=y\n", "\n", "source /grub.cfg\n")),
        (
            "grub.cfg",
            fill(&format!("set x={long}\n"), "regexp '((x*)*y)*z' $x\n", ""),
        ),
        (
            "grub.cfg",
            fill("set x=y\n", "regexp '(a{99}){99}' b\n", ""),
        ),
        ("grub.cfg", fill("set x=y\ntest ", "a -o ( ", "\n")),
        ("grub.cfg", fill("set x=y\ntest ", "a -o ", "\n")),
        (
            "grub.cfg",
            fill("set x='eval \"$x\"'\n", "eval \"$x\" ; ", "\n"),
        ),
        ("grub.cfg", fill("set x=\"", "y", "")),
        ("grub.cfg", fill("set x=y\nwhile true; do ", ";", "done\n")),
        ("grub.cfg", fill("for x in ", "a ", "; do done\n")),
        (
            "grub.cfg",
            fill("for x in ", "a ", "; do for y in a b; do done; done\n"),
        ),
        (
            "grub.cfg",
            fill(
                "function f {\nwhile [ $# -gt 0 ]; do shift; done\n}\nf ",
                "a ",
                "\n",
            ),
        ),
        (
            "grub.cfg",
            fill(
                "function f {\nsetparams $@ $@\nf $@\n}\nmenuentry a b {\nf x\n",
                "echo $*\n",
                "}\n",
            ),
        ),
        (
            "grub.cfg",
            fill("set x=y\nlinux k\ninitrd ", "i ", "\necho $?\n"),
        ),
        (
            "grub.cfg",
            numbered(
                "set x=y\nlinux k\ninitrd",
                &|n| format!(" {n}"),
                "\necho $?\n",
            ),
        ),
        (
            "grub.cfg",
            fill(
                &format!("set x={long}\nexport x\n"),
                "export x\n",
                "configfile /grub.cfg\n",
            ),
        ),
        ("grub.cfg", fill("set x=y\nx ", "{ ", "")),
        ("grub.cfg", fill("set x=y\nx ", "{ y }; x ", "")),
        ("p.cfg", fill("label x\n", "label a\nmenu exit\n", "")),
        (
            "p.cfg",
            fill("label x\n", "label a\nmenu goto b\n", "ui menu.c32\n"),
        ),
        (
            "p.cfg",
            fill(
                "label x\n",
                "menu begin b\nlabel a\nmenu goto b\n",
                "ui menu.c32\n",
            ),
        ),
        ("p.cfg", fill("label x\n", "say y\n", "")),
        ("p.cfg", fill("label x\n", "unknown y\n", "")),
        ("p.cfg", fill("label x\n", "include q\n", "")),
        ("p.cfg", fill("label x\n", "\n", "include p.cfg\n")),
        ("p.cfg", fill("label x\nappend ", "y ", "\n")),
        ("e.conf", fill("title x\nlinux k\n", "initrd i\n", "")),
        ("e.conf", fill("title x\nlinux k\noptions ", "i ", "\n")),
    ];
    let texts = Mutex::new(texts.into_iter());
    let next = || texts.lock().unwrap().next();
    let judge = || {
        while let Some((name, text)) = next() {
            let url = format!("http://192.0.2.1/{name}");
            let before = processor_time();
            let end = end_of(&url, text.as_bytes());
            let time = processor_time() - before;
            let head: String = text.chars().filter(|c| *c != 'x').take(60).collect();
            // The longest takes 3 s in a development build.
            assert!(time < Duration::from_secs(20), "{head:?}: {time:?}: {end}");
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(judge);
        }
    });
}

/// Returns the processor time that this thread has used, which other programs do not lengthen.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

/// Drives a planner whose server has this one file.
fn end_of(file: &str, text: &[u8]) -> String {
    let mut planner = Planner::new(facts(file));
    let mut answer = Answer::Begin;
    loop {
        answer = match planner.next(answer) {
            Step::Fetch { url, .. } if url.to_string() == file => Answer::File {
                head: text.to_vec(),
                len: text.len() as u64,
            },
            Step::Fetch { .. } => Answer::Missing,
            Step::Menu(menu) => menu.unattended(),
            Step::Prompt { .. } | Step::Input { .. } | Step::CommandLine { .. } => Answer::TimedOut,
            Step::Verify { .. } => Answer::Failed("no signature".to_owned()),
            Step::Query(_) => Answer::Failed("no answer".to_owned()),
            Step::Say(_) | Step::Sleep(_) | Step::Limit(_) => Answer::Done,
            Step::Done(_) => return "planned".to_owned(),
            Step::Failed(error) => return error.to_string(),
        };
    }
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
        let transcript = transcript(&case, None);
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

/// Plans a script of the tree of menus for somebody who chooses these entries, and types if asked.
fn chosen(name: &str, choices: &[&str]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ipxe-menus");
    transcript(&folder.join(name), Some(choices))
}

/// Plans the case and returns what happened, a line each; nobody is there without `choices`.
fn transcript(case: &Path, choices: Option<&[&str]>) -> String {
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
    let mut choices = choices.map(|choices| choices.iter());
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
                let answer = match &mut choices {
                    Some(choices) => choose(&menu, choices.next().unwrap()),
                    None => menu.unattended(),
                };
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
                match choices {
                    Some(_) => Answer::Text("typed".to_owned()),
                    None => Answer::TimedOut,
                }
            }
            Step::CommandLine {
                labels, timeout, ..
            } => {
                writeln!(lines, "prompt for {labels:?} timeout {timeout:?}").unwrap();
                Answer::TimedOut
            }
            Step::Say(text) => {
                writeln!(lines, "say {text}").unwrap();
                Answer::Done
            }
            Step::Verify { url, signature } => {
                let is_good = signature.file_name().starts_with("good");
                let found = if is_good { "good" } else { "bad" };
                writeln!(lines, "verify {url} by {signature} ({found})").unwrap();
                if is_good {
                    Answer::Done
                } else {
                    Answer::Failed("the signature does not fit the file".to_owned())
                }
            }
            Step::Query(query) => {
                writeln!(lines, "query {query:?}").unwrap();
                match query {
                    Query::Address(host) if host.ends_with(".example.com") => {
                        Answer::Text("192.0.2.77".to_owned())
                    }
                    Query::Echo { host, .. } if host == "192.0.2.1" => Answer::Done,
                    Query::Address(_) | Query::Echo { .. } => {
                        Answer::Failed("no answer".to_owned())
                    }
                }
            }
            Step::Limit(time) => {
                writeln!(lines, "limit {time:?}").unwrap();
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
                let kind = match error.outcome {
                    Some(Outcome::LocalBoot) => "local",
                    Some(Outcome::Reboot) => "reboot",
                    Some(Outcome::PowerOff) => "poweroff",
                    None => "error",
                };
                writeln!(lines, "{kind} {error}").unwrap();
                return shortened(&lines);
            }
        };
    }
    panic!("{name} does not end");
}

fn choose(menu: &Menu, text: &str) -> Answer {
    let entry = |entry: &Entry| entry.is_choice && entry.text.ends_with(text);
    let entry = menu.entries.iter().position(entry);
    Answer::Chosen {
        entry: entry.unwrap_or_else(|| panic!("no {text:?} in {menu:?}")),
        command_line: None,
        is_by_user: true,
    }
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
    let signature = |part: &wireboot_proto::boot::PlanPart| match &part.signature {
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
        _ if path.ends_with(".0") || path.ends_with(".kpxe") || path.ends_with(".bin") => {
            file(b"\xeb\x10\0\0".to_vec())
        }
        _ if path.ends_with(".efi") => file([&b"MZ"[..], &[0; 0x400]].concat()),
        _ if path.ends_with("vmlinuz") => file(kernel()),
        Purpose::BootFile | Purpose::Kernel => file(kernel()),
        Purpose::DeviceTree => file(b"\xd0\x0d\xfe\xed".to_vec()),
        Purpose::Initrd => file(b"\x1f\x8b\x08".to_vec()),
    }
}

fn kernel() -> Vec<u8> {
    bz_image()
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
