use std::num::NonZeroUsize;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::boot::{Architecture, Outcome};
use crate::format::kernel_image::fixture::bz_image;

#[test]
fn a_bare_kernel_is_recognised_by_its_octets_and_fetched_once() {
    let kernel = bz_image();
    let mut facts = facts("http://192.0.2.1/strange-name.txt");
    facts.initrds = vec!["http://192.0.2.1/initrd".parse().unwrap()];
    facts.append = Some("quiet".to_owned());
    let (steps, end) = drive(facts, &[("http://192.0.2.1/strange-name.txt", &kernel)]);
    assert_eq!(steps, ["fetch http://192.0.2.1/strange-name.txt"]);
    let Step::Done(plan) = end else {
        panic!("{end:?}")
    };
    assert_eq!(plan.kernel.url.path(), "/strange-name.txt");
    assert_eq!(plan.initrds[0].url.path(), "/initrd");
    assert_eq!(plan.with_append(&plan.command_line), "quiet");
}

#[test]
fn pxelinux_searches_from_the_uuid_to_the_default() {
    let mut facts = facts("tftp://192.0.2.1/boot/pxelinux.0");
    facts.smbios.insert(
        "product_uuid".to_owned(),
        "B8945908-D6A6-41A9-611D-74A6AB80B83D".to_owned(),
    );
    let configuration =
        "DEFAULT a\r\nLABEL a\r\n KERNEL vmlinuz\r\n APPEND initrd=a.gz,/b.gz x\r\n IPAPPEND 3\r\n";
    let (steps, end) = drive(
        facts,
        &[
            ("tftp://192.0.2.1/boot/pxelinux.0", b"\xea\0PXELINUX 6.04\0"),
            (
                "tftp://192.0.2.1/boot/pxelinux.cfg/default",
                configuration.as_bytes(),
            ),
        ],
    );
    let tried: Vec<_> = steps
        .iter()
        .filter_map(|step| step.strip_prefix("fetch tftp://192.0.2.1/boot/pxelinux.cfg/"))
        .collect();
    assert_eq!(
        tried,
        [
            "b8945908-d6a6-41a9-611d-74a6ab80b83d",
            "01-52-54-00-12-34-56",
            "C0000215",
            "C000021",
            "C00002",
            "C0000",
            "C000",
            "C00",
            "C0",
            "C",
            "default",
        ]
    );
    let Step::Done(plan) = end else {
        panic!("{end:?}")
    };
    assert_eq!(plan.kernel.url.to_string(), "tftp://192.0.2.1/boot/vmlinuz");
    let initrds: Vec<_> = plan
        .initrds
        .iter()
        .map(|part| part.url.to_string())
        .collect();
    assert_eq!(
        initrds,
        ["tftp://192.0.2.1/boot/a.gz", "tftp://192.0.2.1//b.gz"]
    );
    assert_eq!(
        plan.command_line,
        "BOOT_IMAGE=vmlinuz initrd=a.gz,/b.gz x \
         ip=192.0.2.21:192.0.2.1:0.0.0.0:255.255.255.0 BOOTIF=01-52-54-00-12-34-56"
    );
}

#[test]
fn a_search_is_one_line_and_each_name_a_detail() {
    let text = "default a\nlabel a\nkernel k\n";
    for (boot_file, head, found, expected) in [
        (
            "pxelinux.0",
            "\0PXELINUX",
            "pxelinux.cfg/default",
            "no configuration for MAC 01-52-54-00-12-34-56 or IP C0000215…C; \
             using tftp://192.0.2.1/pxelinux.cfg/default",
        ),
        (
            "pxelinux.0",
            "\0PXELINUX",
            "pxelinux.cfg/C0000215",
            "no configuration for MAC 01-52-54-00-12-34-56; \
             using tftp://192.0.2.1/pxelinux.cfg/C0000215",
        ),
        (
            "pxelinux.0",
            "\0PXELINUX",
            "pxelinux.cfg/01-52-54-00-12-34-56",
            "configuration: tftp://192.0.2.1/pxelinux.cfg/01-52-54-00-12-34-56",
        ),
        (
            "grubx64.efi",
            "MZ",
            "grub.cfg",
            "no configuration for MAC 01-52-54-00-12-34-56 or IP C0000215…C; \
             using tftp://192.0.2.1/grub.cfg",
        ),
    ] {
        let url = |name: &str| format!("tftp://192.0.2.1/{name}");
        let (boot_file, found) = (url(boot_file), url(found));
        let head = [head.as_bytes(), &[0; 0x400]].concat();
        let mut planner = Planner::new(facts(&boot_file));
        let files = [(&*boot_file, &*head), (&*found, text.as_bytes())];
        let (steps, _) = drive_on(&mut planner, &files);
        let is_search = |note: &&Note| note.text.contains("configuration");
        let (details, notes): (Vec<_>, Vec<_>) =
            planner.notes().iter().partition(|note| note.is_detail);
        let search = notes.iter().rfind(|note| is_search(note));
        assert_eq!(search.unwrap().text, expected);
        assert_eq!(search.unwrap().place.to_string(), boot_file);
        // All files but the boot file and the one that was found.
        assert_eq!(details.len(), steps.len() - 2, "{steps:?}: {details:?}");
        assert!(details.iter().all(|note| note.text == "not found"));
    }
    let (_, end) = drive(facts("tftp://192.0.2.1/pxelinux.0"), &[]);
    let Step::Failed(error) = end else {
        panic!("{end:?}")
    };
    assert_eq!(
        error.what,
        "no configuration for MAC 01-52-54-00-12-34-56 or IP C0000215…C, and no \
         pxelinux.cfg/default"
    );
}

#[test]
fn a_directive_that_is_not_known_stops_only_the_label_it_stands_in() {
    let text = "default good\nlabel bad\n kernel k\n frobnicate yes\nlabel good\n kernel g\n";
    let url = "http://192.0.2.1/pxelinux.cfg/default";
    let (_, end) = drive(facts(url), &[(url, text.as_bytes())]);
    assert!(matches!(end, Step::Done(plan) if plan.kernel.url.path() == "/g"));
    let text = text.replace("default good", "default bad");
    let (_, end) = drive(facts(url), &[(url, text.as_bytes())]);
    let Step::Failed(error) = end else {
        panic!("{end:?}")
    };
    assert_eq!(
        error.to_string(),
        "http://192.0.2.1/pxelinux.cfg/default:4: \"frobnicate\": unknown or unsupported directive"
    );
}

#[test]
fn a_server_that_fails_ends_the_search() {
    let url = "tftp://192.0.2.1/pxelinux.0";
    let mut planner = Planner::new(facts(url));
    planner.next(Answer::Begin);
    planner.next(Answer::File {
        head: b"\0PXELINUX".to_vec(),
        len: 9,
    });
    let step = planner.next(Answer::Failed("no answer".to_owned()));
    assert!(matches!(step, Step::Failed(error) if error.what == "no answer"));
}

#[test]
fn configurations_that_include_themselves_end() {
    let url = "http://192.0.2.1/a.cfg";
    let (_, end) = drive(facts(url), &[(url, b"include a.cfg\n")]);
    assert!(matches!(end, Step::Failed(error) if error.place.line == NonZeroUsize::new(1)));
    let text = b"default a\nlabel a\nconfig a.cfg\n";
    let (_, end) = drive(facts(url), &[(url, text)]);
    assert!(matches!(end, Step::Failed(error) if error.what.contains("loop")));
    let text = b"default a\nlabel a\nkernel a.0\n";
    let (_, end) = drive(facts(url), &[(url, text), ("http://192.0.2.1/a.0", text)]);
    assert!(matches!(end, Step::Failed(error) if error.what.contains("boot files")));
}

#[test]
fn a_menu_whose_lines_are_fixed_cannot_be_edited() {
    for (line, is_fixed) in [
        ("allowoptions 0", true),
        ("menu master passwd x", true),
        ("", false),
    ] {
        let text = format!("ui menu.c32\ntotaltimeout 50\n{line}\nlabel a\nkernel k\n");
        let mut planner = Planner::new(facts("http://192.0.2.1/pxelinux.cfg/default"));
        planner.next(Answer::Begin);
        let step = planner.next(Answer::File {
            head: text.clone().into(),
            len: text.len() as u64,
        });
        let Step::Menu(menu) = step else {
            panic!("{step:?}")
        };
        assert_eq!(menu.entries[0].command_line.is_none(), is_fixed, "{line}");
        assert_eq!(menu.total_timeout, Some(Duration::from_secs(5)));
    }
}

const PROMPT: &str = "default linux quiet\nprompt 1\ntimeout 50\ntotaltimeout 600\n\
    ontimeout rescue late\n\
    label linux\nkernel k\nappend a=1\nlabel rescue\nkernel r\nappend b=2\n\
    label disk\nlocalboot 0\nlabel odd\nkernel k\nfrobnicate\n";

#[test]
fn a_line_at_the_prompt_is_a_label_with_words_behind_its_own() {
    for (line, kernel, command_line) in [
        ("rescue", "r", "BOOT_IMAGE=r b=2"),
        (
            " rescue  init=/bin/sh 1 ",
            "r",
            "BOOT_IMAGE=r b=2 init=/bin/sh 1",
        ),
        ("", "k", "BOOT_IMAGE=k a=1 quiet"),
        ("other x", "other", "BOOT_IMAGE=other x"),
    ] {
        let mut prompt = Prompt::begin(PROMPT);
        assert_eq!(prompt.labels, "linux rescue disk odd ");
        let limits = [Duration::from_secs(5), Duration::from_secs(60)].map(Some);
        assert_eq!(prompt.limits, limits);
        let end = prompt.answer(Answer::Text(line.to_owned()));
        assert_eq!(
            planned(end),
            (format!("/{kernel}"), command_line.to_owned())
        );
    }
    // Nobody is there.
    let end = Prompt::begin(PROMPT).answer(Answer::TimedOut);
    assert_eq!(
        planned(end),
        ("/r".to_owned(), "BOOT_IMAGE=r b=2 late".to_owned())
    );
    let text = PROMPT.replace("ontimeout rescue late\n", "");
    let end = Prompt::begin(&text).answer(Answer::TimedOut);
    assert_eq!(planned(end).1, "BOOT_IMAGE=k a=1 quiet");
}

#[test]
fn the_prompt_is_shown_again_when_a_line_cannot_be_booted() {
    let text = |line: &str| Answer::Text(line.to_owned());
    let mut prompt = Prompt::begin(PROMPT);
    for (line, expected) in [
        ("missing x", "Could not find kernel image: missing"),
        ("odd", "unknown or unsupported directive"),
        ("tool.c32", "is a program for the firmware"),
    ] {
        let Step::Say(said) = prompt.answer(text(line)) else {
            panic!("{line}")
        };
        assert!(said.contains(expected), "{said}");
        assert!(matches!(
            prompt.answer(Answer::Done),
            Step::CommandLine { .. }
        ));
        // Somebody is there, who may take his time; what he mistyped is no label.
        assert_eq!(prompt.limits, [None, Some(Duration::from_secs(60))]);
        assert_eq!(prompt.labels, "linux rescue disk odd ");
    }
    assert!(matches!(
        prompt.answer(Answer::Cancelled),
        Step::CommandLine { .. }
    ));
    assert_eq!(
        planned(prompt.answer(text("linux 1"))).1,
        "BOOT_IMAGE=k a=1 1"
    );
    let end = Prompt::begin(PROMPT).answer(text("disk"));
    assert!(matches!(end, Step::Failed(error) if error.outcome == Some(Outcome::LocalBoot)));
}

#[test]
fn directives_say_what_may_be_typed_at_the_prompt() {
    let text = |line: &str| Answer::Text(line.to_owned());
    let with = |directive: &str| Prompt::begin(&format!("{directive}\n{PROMPT}"));
    let end = with("allowoptions 0").answer(text("rescue init=/bin/sh"));
    assert_eq!(planned(end).1, "BOOT_IMAGE=r b=2");
    let said = with("implicit 0").answer(text("other"));
    assert!(matches!(said, Step::Say(said) if said.ends_with("image: other")));
    let end = with("implicit 0\nonerror rescue sorry").answer(text("other x"));
    assert_eq!(planned(end).1, "BOOT_IMAGE=r b=2 sorry other x");
    let said = with("implicit 0\nonerror gone").answer(text("other"));
    assert!(matches!(said, Step::Say(said) if said.ends_with("image: other")));
    assert!(with("nocomplete 1").labels.is_empty());
    // The menu is asked where there is one, and nothing where the last PROMPT is 0.
    let url = "http://192.0.2.1/pxelinux.cfg/default";
    for (more, is_menu) in [("ui menu.c32", true), ("prompt 0", false)] {
        let text = format!("{PROMPT}label x\n{more}\n");
        let mut planner = Planner::new(facts(url));
        planner.next(Answer::Begin);
        let step = planner.next(file(text.as_bytes()));
        assert_eq!(matches!(step, Step::Menu(_)), is_menu, "{step:?}");
        assert_eq!(matches!(step, Step::Done(_)), !is_menu, "{step:?}");
    }
}

/// A planner that asks at the prompt.
struct Prompt {
    planner: Planner,
    labels: String,
    limits: [Option<Duration>; 2],
}

impl Prompt {
    fn begin(configuration: &str) -> Self {
        let url = "http://192.0.2.1/pxelinux.cfg/default";
        let mut prompt = Self {
            planner: Planner::new(facts(url)),
            labels: String::new(),
            limits: [None; 2],
        };
        prompt.planner.next(Answer::Begin);
        let step = prompt.answer(file(configuration.as_bytes()));
        assert!(matches!(step, Step::CommandLine { .. }), "{step:?}");
        prompt
    }

    /// Answers, and serves every file that is not named `missing`.
    fn answer(&mut self, answer: Answer) -> Step {
        let mut step = self.planner.next(answer);
        if let Step::Fetch { url, .. } = &step {
            let is_missing = url.path() == "/missing";
            step = self.planner.next(if is_missing {
                Answer::Missing
            } else {
                file(b"kernel")
            });
        }
        if let Step::CommandLine {
            labels,
            timeout,
            total_timeout,
        } = &step
        {
            self.labels.clone_from(labels);
            self.limits = [*timeout, *total_timeout];
        }
        step
    }
}

fn planned(end: Step) -> (String, String) {
    let Step::Done(plan) = end else {
        panic!("{end:?}")
    };
    (plan.kernel.url.path().to_owned(), plan.command_line)
}

fn file(octets: &[u8]) -> Answer {
    Answer::File {
        head: octets.to_vec(),
        len: octets.len() as u64,
    }
}

#[test]
fn what_cannot_be_followed_is_said() {
    let text = "default a\nlabel a\nkernel k\nfdt b.dtb\nfdtdir dtbs\nsysappend 0x4001c\n";
    let url = "http://192.0.2.1/pxelinux.cfg/default";
    let mut facts = facts(url);
    facts.architecture = Architecture::X86_64;
    facts.cpu_flags = ["fpu", "pae", "nx", "lm", "svm"].map(str::to_owned).into();
    let mut planner = Planner::new(facts);
    planner.next(Answer::Begin);
    let end = planner.next(Answer::File {
        head: text.into(),
        len: text.len() as u64,
    });
    let Step::Done(plan) = end else {
        panic!("{end:?}")
    };
    assert_eq!(plan.command_line, "BOOT_IMAGE=k CPU=6PXLS");
    assert!(plan.device_tree.is_some());
    assert_eq!(plan.parts().count(), 1);
    let notes: Vec<_> = planner.notes().iter().map(|note| &note.text).collect();
    for expected in [
        "is a device tree and",
        "in dtbs",
        ": SYSUUID, SYSVENDOR, bit 0x40000",
    ] {
        let is_said = notes.iter().any(|note| note.contains(expected));
        assert!(is_said, "{expected}: {notes:?}");
    }
}

#[test]
fn a_device_tree_is_loaded_where_the_next_kernel_can_be_given_one() {
    let text = b"default a\nlabel a\nkernel k\nfdt b.dtb\n";
    let url = "http://192.0.2.1/pxelinux.cfg/default";
    let mut facts = facts(url);
    facts.architecture = Architecture::Arm64;
    let (_, end) = drive(facts, &[(url, text)]);
    let Step::Done(plan) = end else {
        panic!("{end:?}")
    };
    let parts: Vec<_> = plan.parts().collect();
    let [_, (tree, Purpose::DeviceTree)] = parts.as_slice() else {
        panic!("{parts:?}")
    };
    assert_eq!(tree.url.to_string(), "http://192.0.2.1/b.dtb");
}

#[test]
fn what_a_plan_costs_counts_over_all_its_files_and_names_the_line() {
    let url = |name: &str| format!("http://192.0.2.1/{name}");
    let say = format!("set x {}\n:a\necho ${{x}}\n", "y".repeat(10_000));
    let loops = format!("#!ipxe\n{say}goto a\n");
    let first = "#!ipxe\nset n:int32 0\n:b\ninc n\niseq ${n} 40000 || goto b\nchain second.ipxe\n";
    let second = "#!ipxe\n:a\ngoto a\n";
    for (boot, files, line, what) in [
        (
            "a.ipxe",
            vec![("a.ipxe", loops.as_str())],
            4,
            "more than 16 MiB of text",
        ),
        (
            "first.ipxe",
            vec![("first.ipxe", first), ("second.ipxe", second)],
            5,
            "more than 100000 steps",
        ),
    ] {
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| (url(name), *text))
            .collect();
        let files: Vec<_> = files
            .iter()
            .map(|(url, text)| (url.as_str(), text.as_bytes()))
            .collect();
        let (_, end) = drive(facts(&url(boot)), &files);
        let Step::Failed(error) = end else {
            panic!("{end:?}")
        };
        assert!(error.what.contains(what), "{error}");
        assert_eq!(error.place.line, NonZeroUsize::new(line), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// `drive` panics when a plan does not end.
    #[test]
    fn whatever_lines_a_file_has_the_plan_ends(
        numbers in prop::collection::vec(0_usize..100, 1..40),
        language in 0_usize..3,
    ) {
        let (name, head, lines) = [
            ("b.ipxe", "#!ipxe\n", [
                "set x ${x}${y}a", "set y:uristring %24%7By:string%7D", "echo ${x}${y:string}",
                ":a", "goto a", "goto b ||", ":b", "isset ${x} && goto a ||", "chain b.ipxe ||",
                "chain --replace b.ipxe", "item ${x} ${y}", "choose --keep z ||", "inc n",
                "iseq ${n} 9 || goto a", "exit",
            ]),
            ("grub.cfg", "set x=y\n", [
                "set x=$x$x", "set x=\"$x $x\"", "function f {", "}", "f", "if f; then", "fi",
                "source /grub.cfg", "menuentry $x {", "echo $x", "else", "configfile /grub.cfg",
                "submenu b {", "test $x = $x", "eval \"$x\"",
            ]),
            ("p.cfg", "label a\n", [
                "include p.cfg", "label b", "kernel p.cfg", "menu begin", "menu end", "menu exit",
                "ui menu.c32", "default b", "config p.cfg", "menu goto c", "ontimeout a", "say x",
                "append y", "text help", "kernel a",
            ]),
        ][language];
        let lines: Vec<_> = numbers.iter().map(|number| lines[number % lines.len()]).collect();
        let text = format!("{head}{}\n", lines.join("\n"));
        let url = format!("http://192.0.2.1/{name}");
        drive(facts(&url), &[(&url, text.as_bytes())]);
    }
}

#[test]
fn a_server_that_offers_ipxe_to_ipxe_is_to_be_told_who_asks() {
    for name in [
        "undionly.kpxe",
        "ipxe.efi",
        "snp.efi",
        "snponly.efi",
        "52-54-00-12-34-56/ipxe.efi",
    ] {
        let url = format!("tftp://192.0.2.1/{name}");
        for files in [vec![], vec![(url.as_str(), &b"MZ\0\0"[..])]] {
            let (steps, end) = drive(facts(&url), &files);
            assert!(
                steps.last().unwrap().ends_with("/autoexec.ipxe"),
                "{steps:?}"
            );
            let Step::Failed(error) = end else {
                panic!("{end:?}")
            };
            assert!(error.what.contains("--user-class Tinkerbell"), "{error}");
        }
    }
    // The script is there, and what it chains to is not: that is another matter.
    let url = "tftp://192.0.2.1/ipxe.efi";
    let script = b"#!ipxe\nchain pxelinux.0\n";
    let files = [("tftp://192.0.2.1/autoexec.ipxe", &script[..])];
    let (_, end) = drive(facts(url), &files);
    assert!(matches!(end, Step::Failed(error) if error.what == "the server has no such file"));
}

#[test]
fn an_unsigned_lease_adds_no_words_to_the_command_line_of_a_signed_script() {
    let url = "http://192.0.2.1/b.ipxe";
    let plan_of = |script: &str, must_be_signed: bool| {
        let mut facts = facts(url);
        facts.must_be_signed = must_be_signed;
        let option = |text: &str| text.as_bytes().to_vec();
        facts.options.insert(17, option("x init=/bin/sh"));
        facts.options.insert(60, option("a%20init=/bin/sh"));
        facts.options.insert(43, vec![1, 3, b'a', b'\t', b'b']);
        facts
            .options
            .insert(203, option("iqn.2010-04.com.example:disk"));
        facts.boot_file_name = "b.ipxe\x0binit=/bin/sh".to_owned();
        let script = format!("#!ipxe\n{script}\n");
        let (_, end) = drive(
            facts,
            &[(url, script.as_bytes()), ("http://192.0.2.1/k", b"\x7fELF")],
        );
        end
    };
    // The planner asks for the kernel only if no word before it was refused.
    let is_refused = |script: &str| {
        let Step::Failed(error) = plan_of(script, true) else {
            panic!("{script}")
        };
        error.what.starts_with("a value of the lease")
    };
    for script in [
        "kernel k root=${17:string}",
        "kernel k root=${net0/root-path}",
        "kernel k a=${filename}",
        "kernel k a=${43.1:string}",
        "set a ${root-path}\nkernel k ${a}",
        "set a:uristring ${60:string}\nkernel k ${a:string}",
        "set a ${60:string}\nset b:uristring ${a}\nset c ${b:string}\nkernel k ${c}",
        "set a:hex ${17:hex}\nkernel k ${a:string}",
        "set a:base64 ${17:base64}\nimgargs k ${a:string}",
    ] {
        assert!(is_refused(script), "{script}");
        let Step::Failed(error) = plan_of(script, false) else {
            panic!("{script}")
        };
        assert!(!error.what.starts_with("a value of the lease"), "{error}");
    }
    for script in [
        "kernel k iqn=${initiator-iqn} host=${hostname} ip=${ip} mac=${mac}",
        "kernel k root=${17:uristring} raw=${17:hex} class=${60:string}",
        "set a ${initiator-iqn} quiet\nset b ${a} more\nkernel k ${b}",
        "set a:hex ${mac:hex}\nkernel k ${a} ${a:hexhyp}",
        "set space:hex 20:20\nset a ${space:string}x y\nkernel k ${a}",
        "set 17:string a b\nkernel k ${17:string}",
    ] {
        assert!(!is_refused(script), "{script}");
    }
}

/// Drives a new planner with these files and nobody at the console.
fn drive(facts: Facts, files: &[(&str, &[u8])]) -> (Vec<String>, Step) {
    drive_on(&mut Planner::new(facts), files)
}

fn drive_on(planner: &mut Planner, files: &[(&str, &[u8])]) -> (Vec<String>, Step) {
    let mut steps = Vec::new();
    let mut answer = Answer::Begin;
    for _ in 0..300_000 {
        let step = planner.next(answer);
        answer = match &step {
            Step::Done(_) | Step::Failed(_) => return (steps, step),
            Step::Fetch { url, .. } => {
                steps.push(format!("fetch {url}"));
                let file = files.iter().find(|(name, _)| *name == url.to_string());
                file.map_or(Answer::Missing, |(_, octets)| Answer::File {
                    head: octets.to_vec(),
                    len: octets.len() as u64,
                })
            }
            Step::Menu(menu) => menu.unattended(),
            Step::Prompt { .. } | Step::Input { .. } | Step::CommandLine { .. } => Answer::TimedOut,
            Step::Verify { .. } => Answer::Failed("no signature".to_owned()),
            Step::Query(_) => Answer::Failed("no answer".to_owned()),
            Step::Say(_) | Step::Sleep(_) | Step::Limit(_) => Answer::Done,
        };
    }
    panic!("the planner does not end")
}

fn facts(boot_file: &str) -> Facts {
    let mac = "52:54:00:12:34:56".parse().unwrap();
    let (address, server) = ([192, 0, 2, 21].into(), [192, 0, 2, 1].into());
    Facts::new(boot_file.parse().unwrap(), mac, address, server)
}
