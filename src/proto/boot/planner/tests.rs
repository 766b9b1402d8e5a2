use std::num::NonZeroUsize;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::boot::{Architecture, HEAD_LEN, Outcome};
use crate::format::kernel_image::fixture::bz_image;
use crate::ipv6::lease::Lease6;

mod pxelinux;

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
fn a_bare_kernel_has_the_words_of_dhcpv6_unless_they_must_be_signed() {
    let parameters = [
        "12345",
        "root=/dev/nfs ro",
        "http://[2001:db8::1]/x?a=b",
        "ip=auto6",
    ];
    for (must_be_signed, expected) in [(false, "root=/dev/nfs ro ip=auto6"), (true, "")] {
        let mut facts = facts("http://192.0.2.1/kernel");
        facts.must_be_signed = must_be_signed;
        facts.ipv6 = Some(Box::new(Lease6 {
            boot_parameters: parameters.map(str::to_owned).to_vec(),
            ..Lease6::default()
        }));
        let (_, end) = drive(facts, &[("http://192.0.2.1/kernel", &bz_image())]);
        let Step::Done(plan) = end else {
            panic!("{end:?}")
        };
        assert_eq!(plan.command_line, expected);
    }
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
        #[cfg(feature = "grub")]
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
fn a_text_of_which_only_the_beginning_is_there_is_not_obeyed() {
    let cut = |text: &str| Answer::File {
        head: format!("{text}{}", "#".repeat(HEAD_LEN - text.len())).into_bytes(),
        len: HEAD_LEN as u64 + 1,
    };
    for (url, text) in [
        ("http://192.0.2.1/a.ipxe", "#!ipxe\nkernel k\nboot\n"),
        ("http://192.0.2.1/default", "default a\nlabel a\nkernel k\n"),
        ("http://192.0.2.1/grub.cfg", "linux /k\nboot\n"),
        ("http://192.0.2.1/a.conf", "linux /k\n"),
    ] {
        let mut planner = Planner::new(facts(url));
        planner.next(Answer::Begin);
        let Step::Failed(error) = planner.next(cut(text)) else {
            panic!("{url}")
        };
        let expected = "is a text of 1048577 bytes, more than the allowed 1048576";
        assert!(error.to_string().contains(expected), "{error}");
    }
    // One that a script loads is a failure of its command.
    let mut planner = Planner::new(facts("http://192.0.2.1/a.ipxe"));
    planner.next(Answer::Begin);
    planner.next(file(b"#!ipxe\nchain long.ipxe || kernel k\nboot\n"));
    let step = planner.next(cut("#!ipxe\nkernel other\nboot\n"));
    assert!(
        matches!(&step, Step::Fetch { url, .. } if url.to_string() == "http://192.0.2.1/k"),
        "{step:?}"
    );
}

#[test]
fn a_command_line_that_no_kernel_takes_and_a_packed_boot_file_are_refused_with_a_reason() {
    let text = format!(
        "default a\nlabel a\nkernel k\nappend {}\n",
        "x ".repeat(40_000)
    );
    for (url, content, expected) in [
        (
            "http://192.0.2.1/default",
            text.as_bytes(),
            "a command line of more than 65536 bytes",
        ),
        (
            "http://192.0.2.1/vmlinuz",
            b"\x1f\x8b\x08",
            "is packed; name",
        ),
    ] {
        let (_, end) = drive(facts(url), &[(url, content)]);
        let Step::Failed(error) = end else {
            panic!("{end:?}")
        };
        assert!(error.to_string().contains(expected), "{error}");
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

#[test]
fn what_a_plan_does_over_and_over_costs_what_it_takes() {
    let (steps, text) = ("more than 100000 steps", "more than 16 MiB of text");
    let long = "0".repeat(65_000);
    let (unset, set) = ("$a ".repeat(50_000), "a".repeat(1_900));
    // Each took from four seconds to many minutes, in an optimised program; the last one by its fetches.
    for (name, file, what) in [
        (
            "a.ipxe",
            format!("#!ipxe\nset a {long}\n:l\ninc a:hexraw ||\ngoto l\n"),
            steps,
        ),
        ("g.cfg", format!("while true; do : {unset}; done\n"), text),
        (
            "g.cfg",
            "while true; do regexp '(a++++++++++++){0}' x; done\n".to_owned(),
            text,
        ),
        (
            "g.cfg",
            "while true; do regexp 'a++++++++++++)' x; done\n".to_owned(),
            text,
        ),
        (
            "g.cfg",
            format!("set t={long}\nwhile true; do regexp '[^{set}]*x' $t; done\n"),
            text,
        ),
        (
            "p.cfg",
            format!("label a\nkernel k\ninitrd {}\n", "i,".repeat(2_001)),
            "more than 2000 files were requested",
        ),
    ] {
        if name == "g.cfg" && cfg!(not(feature = "grub")) {
            continue;
        }
        let begun_at = std::time::Instant::now();
        let url = format!("http://192.0.2.1/{name}");
        let (_, end) = drive(facts(&url), &[(&url, file.as_bytes())]);
        let Step::Failed(error) = end else {
            panic!("{end:?}")
        };
        assert!(error.what.contains(what), "{error}");
        assert!(begun_at.elapsed() < Duration::from_secs(60), "{error}");
    }
}

#[test]
fn a_menu_costs_what_all_menus_have() {
    // Each is the only entry of the one around it; 1,000 of them once took 17 s.
    let menus = "menu begin a\n".repeat(80_000);
    let text = format!("ui menu.c32\n{menus}");
    let url = "http://192.0.2.1/p.cfg";
    let mut planner = Planner::new(facts(url));
    let (mut answer, mut shown) = (Answer::Begin, 0);
    let error = loop {
        let step = planner.next(answer);
        if let Step::Failed(error) = step {
            break error;
        }
        answer = if let Step::Menu(menu) = step {
            shown += 1;
            menu.unattended()
        } else {
            file(text.as_bytes())
        };
    };
    assert!(error.what.contains("more than 16 MiB of text"), "{error}");
    assert!(shown < 100, "{shown}");
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

#[cfg(not(feature = "grub"))]
#[test]
fn what_is_for_grub_needs_a_build_with_it() {
    let absent = "and this wireboot was built without the feature \"grub\"";
    for (name, file, kind) in [
        ("grub.cfg", "set x=y\n", "is a GRUB configuration"),
        ("b.cfg", "menuentry a {\n", "is a GRUB configuration"),
        ("grubx64.efi", "MZ\0\0", "is GRUB or a shim"),
    ] {
        let url = format!("http://192.0.2.1/{name}");
        let (steps, end) = drive(facts(&url), &[(&url, file.as_bytes())]);
        assert_eq!(steps.len(), 1, "{steps:?}");
        let Step::Failed(error) = end else {
            panic!("{end:?}")
        };
        assert_eq!(error.to_string(), format!("{url}: {kind}, {absent}"));
    }
    // Entries for boot loaders need no GRUB.
    let url = "http://192.0.2.1/a.conf";
    let (_, end) = drive(facts(url), &[(url, b"title a\nlinux /k\noptions quiet\n")]);
    assert!(matches!(end, Step::Done(plan) if plan.command_line == "quiet"));
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

#[cfg(feature = "grub")]
#[test]
fn the_fallback_of_grub_is_not_for_an_entry_that_a_user_chose() {
    let config =
        b"set timeout=5\nset fallback=1\nmenuentry A { linux /a; }\nmenuentry B { linux /b; }";
    for (is_by_user, steps) in [(true, vec![]), (false, vec!["/a", "/b"])] {
        let mut planner = Planner::new(facts("http://192.0.2.1/grub.cfg"));
        let mut fetched = Vec::new();
        let mut answer = Answer::Begin;
        let kernel = loop {
            let step = planner.next(answer);
            if let Step::Done(plan) = &step {
                break plan.kernel.url.path().to_owned();
            }
            answer = Answer::Chosen {
                entry: 0,
                command_line: None,
                is_by_user,
            };
            if let Step::Fetch { url, .. } = &step {
                fetched.push(url.path().to_owned());
                answer = match url.path() {
                    "/grub.cfg" => file(config),
                    "/b" => file(&bz_image()),
                    _ => Answer::Missing,
                };
            }
        };
        assert_eq!(fetched.get(1..).unwrap(), steps);
        assert_eq!(kernel, if is_by_user { "/a" } else { "/b" });
    }
}

#[cfg(feature = "grub")]
#[test]
fn a_menu_of_grub_whose_default_needs_a_password_waits_for_a_choice() {
    for timeout in ["0", "2"] {
        for (entries, is_waiting) in [
            (
                "menuentry A { linux /a; }\nmenuentry B --unrestricted { linux /b; }",
                true,
            ),
            (
                "menuentry B --unrestricted { linux /b; }\nmenuentry A { linux /a; }",
                false,
            ),
        ] {
            let mut planner = Planner::new(facts("http://192.0.2.1/grub.cfg"));
            planner.next(Answer::Begin);
            let config = format!(
                "set timeout={timeout}\nset timeout_style=hidden\nset superusers=root\n{entries}"
            );
            let Step::Menu(menu) = planner.next(file(config.as_bytes())) else {
                panic!("no menu");
            };
            assert_eq!(menu.timeout.is_none(), is_waiting);
            assert_eq!(menu.is_hidden, !is_waiting);
            let choices = menu.entries.iter().map(|entry| entry.is_choice);
            assert_eq!(choices.collect::<Vec<_>>(), [!is_waiting, is_waiting]);
            let end = planner.next(menu.unattended());
            assert_eq!(matches!(end, Step::Failed(_)), is_waiting, "{end:?}");
        }
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
