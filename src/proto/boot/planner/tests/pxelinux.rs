//! What pxelinux asks and shows, and what its modules lead to.

use super::*;
use crate::boot::menu::Menu;

#[test]
fn a_word_that_is_not_known_is_ignored_and_reported() {
    let text = "label a\nkernel k\nfrobnicate yes\nmenu some title\nappend x\nmenu color a\n\
                timeout soon\nserial 0\nipappend x\ndefault a\n";
    let (end, notes) = boots(text, &[]);
    assert_eq!(planned(end), ("/k".to_owned(), "BOOT_IMAGE=k x".to_owned()));
    for expected in [
        "default:3: \"frobnicate\" is unknown and ignored",
        "default:4: MENU \"some\" is unknown and ignored",
        "default:7: \"soon\" is no number of tenths of a second",
        "default:9: \"x\" is no number",
        "default:6: without effect here: menu color, serial",
    ] {
        let count = notes.iter().filter(|note| note.ends_with(expected)).count();
        assert_eq!(count, 1, "{expected}: {notes:?}");
    }
}

#[test]
fn with_the_address_goes_what_makes_its_interface() {
    for (append, expected) in [
        (
            "quiet",
            "vlan=bond0.7:bond0 bond=bond0:eth0,eth1:mode=802.3ad",
        ),
        ("bond=bond1:a,b", "vlan=bond0.7:bond0"),
    ] {
        let mut facts = facts("tftp://192.0.2.1/boot/pxelinux.0");
        let words = ["vlan=bond0.7:bond0", "bond=bond0:eth0,eth1:mode=802.3ad"];
        facts.made_by = words.map(str::to_owned).to_vec();
        let text = format!("default a\nlabel a\nkernel k\nappend {append}\nipappend 1\n");
        let (_, end) = drive(
            facts,
            &[
                ("tftp://192.0.2.1/boot/pxelinux.0", b"\xea\0PXELINUX 6.04\0"),
                (
                    "tftp://192.0.2.1/boot/pxelinux.cfg/default",
                    text.as_bytes(),
                ),
            ],
        );
        let Step::Done(plan) = end else {
            panic!("{end:?}")
        };
        let ip = "ip=192.0.2.21:192.0.2.1:0.0.0.0:255.255.255.0";
        assert_eq!(
            plan.command_line,
            format!("BOOT_IMAGE=k {append} {ip} {expected}")
        );
    }
}

#[test]
fn modules_lead_to_the_label_for_this_processor_and_this_loader() {
    const LABELS: &str = "\nlabel big\nkernel b\nlabel small\nkernel s\nlabel tiny\nkernel t\n";
    for (lines, expected) in [
        (
            "com32 ifcpu.c32\nappend lm -- big x -- small",
            "/b BOOT_IMAGE=b x",
        ),
        (
            "kernel ifcpu.c32\nappend 64 pae hvm -- big -- small",
            "/s BOOT_IMAGE=s",
        ),
        ("com32 ifcpu\nappend pae -- big", "/b BOOT_IMAGE=b"),
        (
            "com32 ifcpu.c32\nappend vmx -- big -- small",
            "/s BOOT_IMAGE=s",
        ),
        (
            "com32 ifcpu.c32\nappend multicore -- big -- small",
            "/b BOOT_IMAGE=b",
        ),
        (
            "com32 ifcpu.c32\nappend hypervisor -- big -- small",
            "/s BOOT_IMAGE=s",
        ),
        (
            "com32 ifcpu64.c32\nappend big y -- small -- tiny",
            "/b BOOT_IMAGE=b y",
        ),
        (
            "com32 ifcpu64.c32 other-kernel -- small",
            "/other-kernel BOOT_IMAGE=other-kernel",
        ),
        (
            "com32 whichsys.c32\nappend -iso- small -pxe- big z -sys- tiny",
            "/b BOOT_IMAGE=b z",
        ),
        (
            "com32 whichsys.c32\nappend -pxe- cmd.c32 tiny",
            "/t BOOT_IMAGE=t",
        ),
        ("com32 cmd.c32 small a=b", "/s BOOT_IMAGE=s a=b"),
    ] {
        let text = format!("default a\nlabel a\n{lines}{LABELS}");
        let (kernel, line) = planned(boots(&text, &[]).0);
        assert_eq!(format!("{kernel} {line}"), expected, "{lines}");
    }
    // The default and UI may be such a command, too.
    for line in [
        "default ifcpu64.c32 big -- small",
        "ui ifcpu64.c32 big -- small\ndefault tiny",
    ] {
        assert_eq!(planned(boots(&format!("{line}{LABELS}"), &[]).0).0, "/b");
    }
    for (lines, expected) in [
        (
            "com32 whichsys.c32\nappend -iso- big",
            "no command for pxelinux",
        ),
        ("com32 ifcpu64.c32", "no label for this processor"),
        ("com32 ifcpu64.c32 a -- small", "labels refer to each other"),
        ("com32 hdt.c32", "program for the firmware"),
        (
            "com32 mboot.c32 xen.gz dom0 --- vmlinuz ro --- initrd",
            "\"vmlinuz ro\" with the initrd",
        ),
        ("boot sector.bin", "program for PC firmware"),
        (
            "fdimage floppy.img\nkernel missing.bs",
            "program for the firmware",
        ),
    ] {
        let text = format!("default a\nlabel a\n{lines}{LABELS}");
        let (end, _) = boots(&text, &[]);
        assert!(
            matches!(&end, Step::Failed(error) if error.what.contains(expected)),
            "{end:?}"
        );
    }
}

#[test]
fn restart_power_off_and_the_disk_are_outcomes() {
    for (lines, expected) in [
        ("com32 reboot.c32", Outcome::Reboot),
        ("kernel poweroff.com", Outcome::PowerOff),
        ("com32 poweroff", Outcome::PowerOff),
        ("localboot -1", Outcome::LocalBoot),
        ("com32 whichsys.c32 -pxe- chain hd0", Outcome::LocalBoot),
        ("kernel chain.c32\nappend hd0 0", Outcome::LocalBoot),
    ] {
        let (end, _) = boots(&format!("default a\nlabel a\n{lines}\n"), &[]);
        assert!(
            matches!(&end, Step::Failed(error) if error.outcome == Some(expected)),
            "{end:?}"
        );
    }
}

#[test]
fn the_ending_of_a_name_counts_behind_kernel_alone() {
    for name in ["probe.bin", "floppy.img", "kernel", "vmlinuz-6.1"] {
        let (end, _) = boots(&format!("default a\nlabel a\nkernel {name}\n"), &[]);
        assert_eq!(planned(end).0, format!("/{name}"));
    }
    for (kind, is_chained) in [("kernel", true), ("linux", false), ("pxe", true)] {
        let text = format!("default a\nlabel a\n{kind} linux.0\n");
        let (steps, _) = drive(facts(URL), &[(URL, text.as_bytes())]);
        assert_eq!(steps.len() > 1, is_chained, "{kind}: {steps:?}");
    }
}

#[test]
fn files_of_a_disk_are_beside_the_configuration_or_above_it() {
    let url = |name: &str| format!("http://192.0.2.1/srv/{name}");
    let text = b"include more.conf\ndefault a\nlabel a\nkernel vmlinuz\ninitrd i\nappend x\n";
    for folder in ["extlinux", "syslinux"] {
        let file = url(&format!("{folder}/extlinux.conf"));
        let own = url(&format!("{folder}/vmlinuz"));
        let above = url("vmlinuz");
        for (kernel, initrd) in [(&own, format!("{folder}/i")), (&above, "i".to_owned())] {
            let more = url("more.conf");
            let files = [
                (&*file, &text[..]),
                (kernel, b"kernel"),
                (&more, b"append y\n"),
            ];
            let (steps, end) = drive(facts(&file), &files);
            let Step::Done(plan) = end else {
                panic!("{steps:?}: {end:?}")
            };
            assert_eq!(plan.kernel.url.to_string(), *kernel);
            assert_eq!(plan.initrds[0].url.to_string(), url(&initrd));
        }
        let (_, end) = drive(facts(&file), &[(&file, text)]);
        assert!(matches!(end, Step::Done(plan) if plan.kernel.url.to_string() == above));
        // What is named by a whole path is not looked for.
        let (steps, end) = drive(facts(&file), &[(&file, b"label a\nkernel /vmlinuz\n")]);
        assert!(matches!(end, Step::Done(_)), "{end:?}");
        assert_eq!(steps.len(), 1);
    }
}

#[test]
fn several_files_of_a_menu_are_read_one_behind_the_other() {
    let (a, b) = ("http://192.0.2.1/a", "http://192.0.2.1/b");
    let files: [(&str, &[u8]); 2] = [
        (a, b"menu title A\nlabel a\nkernel ka\n"),
        (b, b"label b\nmenu default\nkernel kb\n"),
    ];
    for text in [
        "ui menu.c32 a missing b\n",
        "default m\nlabel m\nkernel menu.c32\nappend a b\n",
        "menu include a Sub menu\ninclude b\nui menu.c32\n",
    ] {
        assert_eq!(planned(boots(text, &files).0).0, "/kb", "{text}");
    }
    // The file behind a tag is a menu of its own.
    let menu = first_menu("ui menu.c32\nmenu include a Sub menu\ninclude b\n", &files);
    let texts: Vec<_> = menu.entries.iter().map(|entry| &entry.text).collect();
    assert_eq!(texts, ["A", "b"]);
    // ~ is the configuration that the search found.
    let text = "default m\nlabel m\nkernel menu.c32\nappend a ~\nui menu.c32\n";
    let (end, _) = boots(text, &files);
    assert!(
        matches!(&end, Step::Failed(error) if error.what.contains("loop")),
        "{end:?}"
    );
}

#[test]
fn keys_of_entries_move_the_bar_unless_they_are_immediate() {
    let text = "ui menu.c32\nlabel a\nmenu label ^One\nkernel a\n\
                label b\nmenu label ^Two\nmenu immediate\nkernel b\n\
                menu immediate\n";
    let menu = first_menu(text, &[]);
    let moves: Vec<_> = menu
        .entries
        .iter()
        .map(|entry| entry.key_moves_bar)
        .collect();
    assert_eq!(moves, [true, false]);
    let menu = first_menu(&format!("menu immediate\n{text}menu noimmediate\n"), &[]);
    let moves: Vec<_> = menu
        .entries
        .iter()
        .map(|entry| entry.key_moves_bar)
        .collect();
    assert_eq!(moves, [false, true]);
}

#[test]
fn an_entry_with_a_password_starts_by_the_countdown_alone() {
    let text = "label a\nmenu passwd x\nkernel a\nlabel b\nkernel b\ntimeout 50\n\
                menu begin s\nmenu passwd y\nlabel c\nkernel c\nmenu end\ndefault a\n";
    let menu = first_menu(&format!("ui menu.c32\n{text}"), &[]);
    let choices: Vec<_> = menu.entries.iter().map(|entry| entry.is_choice).collect();
    assert_eq!(choices, [false, true, false]);
    assert_eq!(planned(boots(text, &[]).0).0, "/a");
    assert_eq!(
        planned(boots(&format!("ui menu.c32\n{text}"), &[]).0).0,
        "/a"
    );
}

#[test]
fn a_submenu_may_be_the_default_of_the_menu_around_it() {
    let text = "ui menu.c32\nlabel a\nkernel a\nmenu begin s\nmenu default\nlabel b\n\
                kernel b\nlabel c\nmenu default\nkernel c\nmenu end\n";
    assert_eq!(planned(boots(text, &[]).0).0, "/c");
}

#[test]
fn files_are_shown_before_the_choice_and_by_function_keys() {
    let shown: [(&str, &[u8]); 2] = [
        ("http://192.0.2.1/boot.msg", b"Welcome\n\x1a"),
        ("http://192.0.2.1/f1.txt", b"\x0cHelp\n"),
    ];
    let text = "display boot.msg\ndisplay missing.msg\nf1 f1.txt\ndefault a\nlabel a\nkernel a\n";
    for (more, is_menu) in [("prompt 1\n", false), ("ui menu.c32\n", true)] {
        let mut planner = Planner::new(facts(URL));
        let text = format!("{text}{more}");
        let files = [&[(URL, text.as_bytes())], &shown[..]].concat();
        let mut said = Vec::new();
        let step = question(&mut planner, &files, Answer::Begin, &mut said);
        assert_eq!(said, ["Welcome\n"]);
        let has_key = if is_menu {
            matches!(&step, Step::Menu(menu) if menu.help_keys == 1 << 1)
        } else {
            matches!(&step, Step::CommandLine { help_keys, .. } if *help_keys == 1 << 1)
        };
        assert!(has_key, "{step:?}");
        let mut step = question(&mut planner, &files, Answer::Help(1), &mut said);
        assert_eq!(said, ["Welcome\n", "Help\n"]);
        if is_menu {
            assert!(matches!(step, Step::Prompt { .. }), "{step:?}");
            step = question(&mut planner, &files, Answer::Pressed, &mut said);
        }
        let is_command_line = matches!(&step, Step::CommandLine { .. });
        let is_waiting_menu = matches!(&step, Step::Menu(menu) if menu.timeout.is_none());
        assert_eq!((is_command_line, is_waiting_menu), (!is_menu, is_menu));
    }
}

#[test]
fn the_prompt_comes_before_a_menu_that_default_names() {
    let text = "prompt 1\ndefault menu.c32\nlabel a\nmenu default\nkernel a\nlabel b\nkernel b\n";
    let mut prompt = Prompt::begin(text);
    let step = prompt.answer(Answer::Text(String::new()));
    assert!(matches!(step, Step::Menu(_)), "{step:?}");
    assert_eq!(
        planned(Prompt::begin(text).answer(Answer::Text("b x".to_owned()))).1,
        "BOOT_IMAGE=b x"
    );
    assert_eq!(planned(boots(text, &[]).0).0, "/a");
}

#[test]
fn labels_are_named_by_their_first_word_or_by_the_whole_line() {
    let text = "label Install one\nkernel a\nlabel Install two\nkernel b\n";
    for (default, expected) in [
        ("Install", "BOOT_IMAGE=a"),
        ("install quiet", "BOOT_IMAGE=a quiet"),
        ("Install two", "BOOT_IMAGE=b"),
    ] {
        let (end, _) = boots(&format!("default {default}\n{text}"), &[]);
        assert_eq!(planned(end).1, expected, "{default}");
    }
}

#[test]
fn overlays_are_refused_where_a_device_tree_can_be_loaded() {
    let text = b"label a\nkernel k\nfdt b.dtb\nfdtoverlays o.dtbo\n";
    for (architecture, is_refused) in [(Architecture::Arm64, true), (Architecture::X86_64, false)] {
        let mut facts = facts(URL);
        facts.architecture = architecture;
        let (_, end) = drive(facts, &[(URL, text)]);
        assert_eq!(
            matches!(end, Step::Failed(_)),
            is_refused,
            "{architecture:?}"
        );
    }
}

#[test]
fn linux_c32_loads_more_initrds_and_plain_files() {
    let text = "default a\nlabel a\ncom32 linux.c32 k initrd=i,j initrd+=m x\n\
                append initrdfile=dir/f,g@etc/h\n";
    let Step::Done(plan) = boots(text, &[]).0 else {
        panic!()
    };
    let initrds = plan.initrds.iter().map(|part| {
        let path = part
            .placement
            .as_ref()
            .map(|placement| placement.path.as_str());
        (part.url.path(), path)
    });
    assert_eq!(
        initrds.collect::<Vec<_>>(),
        [
            ("/i", None),
            ("/j", None),
            ("/m", None),
            ("/dir/f", Some("f")),
            ("/g", Some("etc/h"))
        ]
    );
    let text = text.replace("etc/h", "../h");
    assert!(matches!(boots(&text, &[]).0, Step::Failed(_)));
}

const URL: &str = "http://192.0.2.1/pxelinux.cfg/default";

/// Plans a configuration on a 64-bit PC with two processors; returns the end and the notes.
fn boots(text: &str, more: &[(&str, &[u8])]) -> (Step, Vec<String>) {
    let mut facts = facts(URL);
    facts.architecture = Architecture::X86_64;
    facts.cpu_flags = ["fpu", "pae", "lm"].map(str::to_owned).into();
    facts.processors = 2;
    let mut planner = Planner::new(facts);
    let files = [&[(URL, text.as_bytes())], more].concat();
    let (_, end) = drive_on(&mut planner, &files);
    (
        end,
        planner.notes().iter().map(ToString::to_string).collect(),
    )
}

fn first_menu(text: &str, more: &[(&str, &[u8])]) -> Menu {
    let files = [&[(URL, text.as_bytes())], more].concat();
    let mut planner = Planner::new(facts(URL));
    let step = question(&mut planner, &files, Answer::Begin, &mut Vec::new());
    let Step::Menu(menu) = step else {
        panic!("{step:?}")
    };
    menu
}

/// Serves files until something is asked; `said` gets what is shown.
fn question(
    planner: &mut Planner,
    files: &[(&str, &[u8])],
    mut answer: Answer,
    said: &mut Vec<String>,
) -> Step {
    loop {
        let step = planner.next(answer);
        if let Step::Fetch { url, .. } = &step {
            let found = files.iter().find(|(name, _)| *name == url.to_string());
            answer = found.map_or(Answer::Missing, |(_, octets)| file(octets));
        } else if let Step::Say(text) = step {
            said.push(text);
            answer = Answer::Done;
        } else {
            return step;
        }
    }
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
        ("text", "is a text and no kernel"),
        ("wimboot", "starts Windows"),
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

#[test]
fn a_default_that_is_no_label_leads_to_the_prompt_and_escape_out_of_a_menu() {
    let text = "implicit 0\ndefault nosuch\nlabel z\nkernel k\n";
    let kernel = bz_image();
    let files = [
        (URL, text.as_bytes()),
        ("http://192.0.2.1/k", kernel.as_slice()),
    ];
    let (mut planner, mut said) = (Planner::new(facts(URL)), Vec::new());
    let mut step = question(&mut planner, &files, Answer::Begin, &mut said);
    for _ in 0..3 {
        assert!(matches!(&step, Step::CommandLine { labels, .. } if labels == "z "));
        assert_eq!(said, ["Could not find kernel image: nosuch"]);
        said.clear();
        let answer = Answer::Text(String::new());
        step = question(&mut planner, &files, answer, &mut said);
    }
    let answer = Answer::Text("z".to_owned());
    let end = question(&mut planner, &files, answer, &mut said);
    assert_eq!(planned(end).1, "BOOT_IMAGE=k");

    let text = "ui menu.c32\nlabel a\nmenu default\nkernel k\n";
    let files = [(URL, text.as_bytes())];
    for (answer, expected) in [
        (Answer::Cancelled, "the menu was left by a key"),
        (Answer::TimedOut, "nothing was chosen"),
    ] {
        let mut planner = Planner::new(facts(URL));
        question(&mut planner, &files, Answer::Begin, &mut said);
        let end = planner.next(answer);
        assert!(matches!(end, Step::Failed(error) if error.what.starts_with(expected)));
    }
}

#[test]
fn onerror_follows_each_line_that_cannot_be_booted() {
    let text = |line: &str| Answer::Text(line.to_owned());
    let with = |directive: &str| Prompt::begin(&format!("{directive}\n{PROMPT}"));
    let end = with("onerror rescue sorry").answer(text("missing x"));
    assert_eq!(planned(end).1, "BOOT_IMAGE=r b=2 sorry missing x");
    // Where that is missing, too, the prompt is shown, and its next line leads to ONERROR again.
    let configuration = "prompt 1\nonerror r\nlabel r\nkernel gone\n";
    let files = [(URL, configuration.as_bytes())];
    let (mut planner, mut said) = (Planner::new(facts(URL)), Vec::new());
    question(&mut planner, &files, Answer::Begin, &mut said);
    for _ in 0..2 {
        let step = question(&mut planner, &files, text("other"), &mut said);
        assert!(matches!(step, Step::CommandLine { .. }), "{step:?}");
    }
    assert_eq!(said, ["Could not find kernel image: other"; 2]);
    let notes = planner.notes().iter();
    let followed = notes.filter(|note| note.text.contains("ONERROR: r"));
    assert_eq!(followed.count(), 2);
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
        while let Step::Fetch { url, .. } = &step {
            step = self.planner.next(match url.path() {
                "/missing" => Answer::Missing,
                "/text" => file(b"no kernel"),
                _ => file(&bz_image()),
            });
        }
        if let Step::CommandLine {
            labels,
            timeout,
            total_timeout,
            ..
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
