//! Boot files that are ISO images, or start one, and the plans that come of them.

use super::super::facts::Facts;
use super::super::plan::BootPlan;
use super::super::planner::Planner;
use super::super::step::Menu;
use super::*;

const ISO: &str = "http://192.0.2.1/d/x.iso";
const UBUNTU: &[(&str, &str)] = &[
    (
        "/boot/grub/grub.cfg",
        "set timeout=3\nsearch --set=root --file /casper/vmlinuz\nmenuentry 'Try' {\n set \
         gfxpayload=keep\n linux /casper/vmlinuz $more --- quiet\n initrd /casper/initrd\n}\n",
    ),
    (
        "/boot/grub/loopback.cfg",
        "menuentry L {\n linux /casper/l\n}\n",
    ),
    ("/casper/vmlinuz", ""),
    ("/casper/initrd", ""),
];
const UBUNTU_WORDS: &str = "url=http://192.0.2.1/d/x.iso iso-url=http://192.0.2.1/d/x.iso \
                            cloud-config-url=/dev/null ip=dhcp";
const DEBIAN: &[(&str, &str)] = &[
    (
        "/isolinux/isolinux.cfg",
        "include menu.cfg\ndefault live\nprompt 0\n",
    ),
    (
        "/isolinux/menu.cfg",
        "label live\n kernel /live/vmlinuz\n append initrd=../live/initrd.img boot=live findiso=/x \
         components\n",
    ),
    (
        "/boot/grub/grub.cfg",
        "linux /live/by-grub boot=live\nboot\n",
    ),
    ("/live/filesystem.squashfs", ""),
];

#[test]
fn a_kernel_out_of_an_image_is_told_where_the_image_is() {
    let fedora = &[
        (
            "/boot/grub2/grub.cfg",
            "menuentry F {\n linux ($root)/images/pxeboot/vmlinuz root=live:CDLABEL=Fedora quiet \
             rd.live.image\n initrd ($root)/images/pxeboot/initrd.img\n}\n",
        ),
        ("/LiveOS/squashfs.img", ""),
    ][..];
    let rocky = &[
        (
            "/isolinux/isolinux.cfg",
            "default linux\nlabel linux\n kernel vmlinuz\n append initrd=initrd.img \
             inst.stage2=hd:LABEL=Rocky inst.text\n",
        ),
        ("/images/install.img", ""),
    ][..];
    let proxmox = &[
        (
            "/boot/grub/grub.cfg",
            "linux /boot/linux26 ro\ninitrd /boot/initrd.img\nboot\n",
        ),
        ("/pve-installer.squashfs", ""),
    ][..];
    let unknown = &[(
        "/boot/isolinux/isolinux.cfg",
        "default /boot/vmlinuz64 loglevel=3\n",
    )][..];
    for (files, expected) in [
        (
            UBUNTU,
            format!(
                "#/casper/vmlinuz|#/casper/initrd|BOOT_IMAGE=/casper/vmlinuz {UBUNTU_WORDS} --- quiet"
            ),
        ),
        (
            DEBIAN,
            format!(
                "#/live/vmlinuz|#/live/initrd.img|BOOT_IMAGE=/live/vmlinuz \
                 initrd=../live/initrd.img boot=live components fetch={ISO}"
            ),
        ),
        (
            fedora,
            format!(
                "#/images/pxeboot/vmlinuz|#/images/pxeboot/initrd.img|\
                 BOOT_IMAGE=(cd0)/images/pxeboot/vmlinuz quiet rd.live.image root=live:{ISO} \
                 rd.neednet=1 ip=dhcp"
            ),
        ),
        (
            rocky,
            format!(
                "#/isolinux/vmlinuz|#/isolinux/initrd.img|BOOT_IMAGE=vmlinuz initrd=initrd.img \
                 inst.text root=live:{ISO} rd.live.dir=images rd.live.squashimg=install.img \
                 rd.neednet=1 ip=dhcp"
            ),
        ),
        (
            proxmox,
            "#/boot/linux26|#/boot/initrd.img /proxmox.iso|BOOT_IMAGE=/boot/linux26 ro".to_owned(),
        ),
        (
            unknown,
            "#/boot/vmlinuz64||BOOT_IMAGE=/boot/vmlinuz64 loglevel=3".to_owned(),
        ),
    ] {
        let (plan, notes) = plan(facts(ISO), files, &[]);
        assert_eq!(shown(&plan.unwrap()), expected);
        assert!(notes.contains("x.iso: configuration: /"), "{notes}");
        let is_explained = notes.contains(": adds ") || notes.contains("is not known");
        assert!(
            is_explained || notes.contains("becomes /proxmox.iso"),
            "{notes}"
        );
    }
}

#[test]
fn every_loader_has_its_way_to_start_an_image() {
    let expected = format!(
        "#/casper/vmlinuz|#/casper/initrd|BOOT_IMAGE=/casper/vmlinuz {UBUNTU_WORDS} --- quiet"
    );
    for (name, text) in [
        (
            "a.ipxe",
            "#!ipxe\nsanboot --no-describe --drive 0x80 /d/x.iso\n",
        ),
        ("a.ipxe", "#!ipxe\nsanboot none.iso || sanboot d/x.iso\n"),
        (
            "a.ipxe",
            "#!ipxe\nkernel memdisk iso raw\ninitrd --name i d/x.iso\nboot\n",
        ),
        ("a.ipxe", "#!ipxe\nchain --autofree d/x.iso\n"),
        ("a.ipxe", "#!ipxe\nimgfetch --name i d/x.iso\nimgexec i\n"),
        (
            "a.cfg",
            "default a\nlabel a\n linux memdisk\n initrd d/x.iso\n append iso raw\n",
        ),
        (
            "a.cfg",
            "default a\nlabel a\n kernel /boot/memdisk\n append initrd=/d/x.iso iso\n",
        ),
        ("a.cfg", "default a\nlabel a\n kernel d/x.iso\n"),
        (
            "g.cfg",
            "set a=b\nmenuentry M {\n linux16 /memdisk iso\n initrd16 /d/x.iso\n}\n",
        ),
        (
            "g.cfg",
            "set iso=/d/x.iso\nmenuentry L {\n loopback loop $iso\n set root=(loop)\n configfile \
             (loop)/boot/grub/grub.cfg\n}\n",
        ),
    ] {
        let boot_file = format!("http://192.0.2.1/{name}");
        let (plan, notes) = plan(facts(&boot_file), UBUNTU, &[(&boot_file, text)]);
        assert_eq!(
            plan.map(|plan| shown(&plan)).as_deref(),
            Ok(expected.as_str()),
            "{text}\n{notes}"
        );
    }
    let text = "set iso=/d/x.iso\nif loopback l (http,192.0.2.1)$iso; then\n linux (l)/casper/vmlinuz \
                boot=casper iso-scan/filename=$iso\n initrd (l)/casper/initrd\nfi\nboot\n";
    let boot_file = "http://192.0.2.1/g.cfg";
    let (plan, _) = plan(facts(boot_file), UBUNTU, &[(boot_file, text)]);
    assert_eq!(
        shown(&plan.unwrap()),
        format!(
            "#/casper/vmlinuz|#/casper/initrd|BOOT_IMAGE=(l)/casper/vmlinuz boot=casper {UBUNTU_WORDS}"
        )
    );
}

#[test]
fn no_whole_image_is_fetched_for_a_plan() {
    let boot_file = "http://192.0.2.1/a.ipxe";
    let script = "#!ipxe\nkernel memdisk\ninitrd d/x.iso\nboot\n";
    let mut planner = Planner::new(facts(boot_file));
    let steps = drive(&mut planner, UBUNTU, &[(boot_file, script)]).1;
    assert!(!steps.contains(&ISO.to_owned()), "{steps:?}");
    // A file with that name that is none is fetched as it is.
    let boot_file = "http://192.0.2.1/b.ipxe";
    let script = "#!ipxe\nkernel k\ninitrd other.iso\nboot\n";
    let mut planner = Planner::new(facts(boot_file));
    let other = "http://192.0.2.1/other.iso";
    let (end, steps) = drive(&mut planner, UBUNTU, &[(boot_file, script), (other, "x")]);
    assert_eq!(end.unwrap().initrds[0].url.to_string(), other);
    assert!(steps.contains(&other.to_owned()), "{steps:?}");
}

#[test]
fn the_firmware_decides_which_configuration_counts_and_another_one_replaces_a_useless_one() {
    let mut efi = facts(ISO);
    efi.is_efi = true;
    let (end, _) = plan(efi, DEBIAN, &[]);
    assert_eq!(end.unwrap().kernel.url.path(), "/live/by-grub");
    let arch = &[
        (
            "/boot/syslinux/syslinux.cfg",
            "default select\nlabel select\n com32 whichsys.c32\n",
        ),
        (
            "/boot/grub/grub.cfg",
            "linux /k archisobasedir=arch archiso_http_srv=http://192.0.2.1/\nboot\n",
        ),
    ][..];
    let (end, notes) = plan(facts(ISO), arch, &[]);
    assert_eq!(end.unwrap().kernel.url.path(), "/k");
    assert!(
        notes.contains("syslinux.cfg:3: \"whichsys.c32\""),
        "{notes}"
    );
    assert!(notes.contains("leaves archiso_http_srv="), "{notes}");
}

#[test]
fn what_the_command_line_says_already_is_left_as_it_is() {
    for (appended, expected) in [
        (
            "nfsroot=192.0.2.1:/x",
            "BOOT_IMAGE=/casper/vmlinuz --- quiet",
        ),
        (
            "ip=192.0.2.9::192.0.2.1:255.255.255.0",
            "BOOT_IMAGE=/casper/vmlinuz url=http://192.0.2.1/d/x.iso \
             iso-url=http://192.0.2.1/d/x.iso cloud-config-url=/dev/null --- quiet",
        ),
    ] {
        let mut facts = facts(ISO);
        facts.append = Some(appended.to_owned());
        let (end, _) = plan(facts, UBUNTU, &[]);
        assert_eq!(end.unwrap().command_line, expected);
    }
}

#[test]
fn an_image_that_cannot_be_booted_is_refused_with_what_would_help() {
    let arch = &[(
        "/boot/grub/grub.cfg",
        "linux /k archisobasedir=arch\nboot\n",
    )][..];
    let alpine = &[
        ("/boot/syslinux/syslinux.cfg", "default /boot/vmlinuz-lts\n"),
        ("/.alpine-release", ""),
    ][..];
    let tails = &[("/EFI/BOOT/GRUB.CFG", "linux /k\nboot\n")][..];
    for (image, files, expected) in [
        (
            ISO,
            arch,
            "append \"ip=dhcp archiso_http_srv=http://192.0.2.1/d/x/\"",
        ),
        (
            ISO,
            alpine,
            "alpine_repo=http://192.0.2.1/d/x/apks modloop=http://192.0.2.1/d/x/boot/",
        ),
        (ISO, &[], "no configuration of ISOLINUX or GRUB"),
        (ISO, tails, ""),
        ("http://192.0.2.1/none.iso", &[], "no such file"),
        ("http://192.0.2.1/other.iso", &[], "is no ISO image"),
        ("tftp://192.0.2.1/x.iso", UBUNTU, "by HTTP alone"),
        ("http://192.0.2.1/x.ISO", UBUNTU, "end in .iso"),
        ("http://192.0.2.1/x.iso?v=1", UBUNTU, "end in .iso"),
        ("http://me:secret@192.0.2.1/x.iso", UBUNTU, "user name"),
    ] {
        match plan(facts(image), files, &[("http://192.0.2.1/other.iso", "x")]).0 {
            Ok(plan) => assert_eq!((expected, plan.kernel.url.path()), ("", "/k")),
            Err(error) => {
                assert!(!expected.is_empty() && error.contains(expected), "{error}");
                assert!(!error.contains("secret"), "{error}");
            }
        }
    }
}

#[test]
fn an_image_of_another_name_is_known_by_its_first_descriptor() {
    let boot_file = "http://192.0.2.1/d/image?x.iso";
    let head = "\0".repeat(0x8001) + "CD001";
    let (end, _) = plan(facts(boot_file), &[], &[(boot_file, &head)]);
    // There is no image behind that name in this test.
    assert!(end.unwrap_err().contains("ISO image"));
}

fn facts(boot_file: &str) -> Facts {
    let mac = "52:54:00:12:34:56".parse().unwrap();
    let (address, server) = ([192, 0, 2, 21].into(), [192, 0, 2, 1].into());
    Facts::new(boot_file.parse().unwrap(), mac, address, server)
}

/// Returns kernel, initrds and command line; files of the image by their fragment.
fn shown(plan: &BootPlan) -> String {
    let name = |part: &crate::boot::PlanPart| match &part.placement {
        Some(placement) => format!("/{}", placement.path),
        None => part.url.to_string().replace(ISO, ""),
    };
    let initrds: Vec<_> = plan.initrds.iter().map(name).collect();
    format!(
        "{}|{}|{}",
        name(&plan.kernel),
        initrds.join(" "),
        plan.command_line
    )
}

/// Returns the plan or the error, and the notes.
fn plan(
    facts: Facts,
    image: &[(&str, &str)],
    files: &[(&str, &str)],
) -> (Result<BootPlan, String>, String) {
    let mut planner = Planner::new(facts);
    let end = drive(&mut planner, image, files).0;
    let notes = planner.notes().iter().map(|note| format!("{note}\n"));
    (end, notes.collect())
}

/// Drives a planner with these files and every image x.iso; returns what was fetched, too.
fn drive(
    planner: &mut Planner,
    image: &[(&str, &str)],
    files: &[(&str, &str)],
) -> (Result<BootPlan, String>, Vec<String>) {
    let mut fetched = Vec::new();
    let mut answer = Answer::Begin;
    for _ in 0..1000 {
        answer = match planner.next(answer) {
            Step::Done(plan) => return (Ok(*plan), fetched),
            Step::Failed(error) => return (Err(error.to_string()), fetched),
            Step::Fetch { url, .. } => {
                fetched.push(url.to_string());
                fetch(&url, image, files)
            }
            Step::Menu(menu) => Menu::unattended(&menu),
            Step::Say(_) => Answer::Done,
            step @ (Step::Verify { .. }
            | Step::Prompt { .. }
            | Step::Input { .. }
            | Step::CommandLine { .. }
            | Step::Limit(_)
            | Step::Query(_)
            | Step::Sleep(_)) => panic!("{step:?}"),
        };
    }
    panic!("the planner does not end")
}

fn fetch(url: &Url, image: &[(&str, &str)], files: &[(&str, &str)]) -> Answer {
    let file = |text: &str| Answer::File {
        head: text.into(),
        len: text.len() as u64,
    };
    let Some(path) = url.path_in_image() else {
        // The kernels of these tests.
        let is_kernel = matches!(url.file_name(), "memdisk" | "k");
        let mut found = files.iter().filter(|(name, _)| *name == url.to_string());
        // A bzImage for 64 bits: boot protocol 2.15, and XLF_KERNEL_64.
        let kernel =
            "\0".repeat(0x202) + "HdrS\x0f\x02" + &"\0".repeat(0x2e) + "\x03" + &"\0".repeat(99);
        return match found.next() {
            Some((_, text)) => file(text),
            None if is_kernel => file(&kernel),
            None => Answer::Missing,
        };
    };
    match url
        .image()
        .unwrap()
        .file_name()
        .to_ascii_lowercase()
        .as_str()
    {
        "x.iso" => {}
        "none.iso" => return Answer::Missing,
        _ => return Answer::Failed("is no ISO image".to_owned()),
    }
    if !path.ends_with('/') {
        let mut found = image
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(path));
        return found.next().map_or(Answer::Missing, |(_, text)| file(text));
    }
    let names = image.iter().filter_map(|(name, _)| {
        let rest = name.strip_prefix(path)?;
        let end = rest.find('/').map_or(rest.len(), |at| at + 1);
        Some(format!("{}\n", &rest[..end]))
    });
    let names: String = names.collect();
    if names.is_empty() && path != "/" {
        return Answer::Missing;
    }
    file(&names)
}
