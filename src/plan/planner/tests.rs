use std::time::Duration;

use super::*;
use crate::plan::Architecture;

#[test]
fn a_bare_kernel_is_recognised_by_its_octets_and_fetched_once() {
    let mut kernel = vec![0; 0x300];
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
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
        "http://192.0.2.1/pxelinux.cfg/default:4: \"frobnicate\": not a directive known here"
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
    assert!(matches!(end, Step::Failed(error) if error.place.line == 1));
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

/// Drives a planner with these files and nobody at the console.
fn drive(facts: Facts, files: &[(&str, &[u8])]) -> (Vec<String>, Step) {
    let mut planner = Planner::new(facts);
    let mut steps = Vec::new();
    let mut answer = Answer::Begin;
    for _ in 0..10_000 {
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
            Step::Prompt { .. } | Step::Input { .. } => Answer::TimedOut,
            Step::Say(_) | Step::Sleep(_) => Answer::Done,
        };
    }
    panic!("the planner does not end")
}

fn facts(boot_file: &str) -> Facts {
    let mac = "52:54:00:12:34:56".parse().unwrap();
    let (address, server) = ([192, 0, 2, 21].into(), [192, 0, 2, 1].into());
    Facts::new(boot_file.parse().unwrap(), mac, address, server)
}
