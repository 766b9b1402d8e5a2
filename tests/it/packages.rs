//! What `initramfs/release` has made, in target/initramfs/release: each package is installed and removed
//! in a folder of its own.

use std::path::PathBuf;
use std::process::Command;

use crate::common::machine::shell;
use wireboot_proto::packet::option::known::parse_hex;

/// The types of machines by Rust's name, Debian's name, and the number in the head of a program (`EM_…`).
const MACHINES: [(&str, &str, u16); 2] = [("x86_64", "amd64", 62), ("aarch64", "arm64", 183)];

#[test]
#[ignore = "needs initramfs/release to have been run, dpkg, rpm and lintian"]
fn packages_are_installed_whole_and_removed_whole() {
    for (arch, debian_arch, number) in MACHINES {
        for name in ["wireboot", "wireboot-initramfs"] {
            let deb = one(&format!("{name}_*_{debian_arch}.deb"));
            let deb = deb.display();
            let named = run(&format!("dpkg-deb --field {deb} Architecture"));
            assert_eq!(named.trim(), debian_arch);
            // Its own database: nothing reaches this machine's.
            let said = run(&format!(
                "root=$(mktemp -d); trap 'rm -rf \"$root\"' EXIT
                mkdir -p \"$root\"/var/lib/dpkg/{{info,updates,triggers}}; : >\"$root/var/lib/dpkg/status\"
                dpkg=(dpkg --root=\"$root\" --force-not-root --force-architecture --log=/dev/null)
                \"${{dpkg[@]}}\" --install {deb} >/dev/null
                {INSPECT}
                \"${{dpkg[@]}}\" --purge {name}:{debian_arch} >/dev/null
                echo left; (cd \"$root\" && find . -type f ! -path './var/lib/dpkg/*')"
            ));
            has_all(&said, name, arch, number);
            let said = run(&format!(
                "lintian --allow-root --fail-on error {deb} 2>&1 || echo failed"
            ));
            assert!(!said.contains("failed") && !said.contains("E: "), "{said}");
        }
        for name in ["wireboot", "wireboot-initramfs"] {
            let rpm = one(&format!("{name}-[0-9]*.{arch}.rpm"));
            let rpm = rpm.display();
            let named = run(&format!(
                "rpm --query --queryformat '%{{ARCH}}' --package {rpm}"
            ));
            assert_eq!(named, arch);
            let said = run(&format!(
                "root=$(mktemp -d); trap 'rm -rf \"$root\"' EXIT
                rpm=(rpm --root \"$root\" --dbpath /var/lib/rpm)
                \"${{rpm[@]}}\" --nodeps --ignorearch --install {rpm}
                {INSPECT}
                \"${{rpm[@]}}\" --erase {name}
                echo left; (cd \"$root\" && find . -type f ! -path './var/lib/rpm/*')"
            ));
            has_all(&said, name, arch, number);
        }
    }
}

/// Lists what was installed in `$root`, and the first bytes of its program with what it says of itself,
/// where it runs.
const INSPECT: &str = "(cd \"$root\" && find usr -type f)
    for program in \"$root\"/usr/{sbin,lib/wireboot}/wireboot; do
        [ -e \"$program\" ] || continue
        echo \"head $(od -An -v -tx1 -N64 \"$program\" | tr -d ' \\n')\"
        echo \"interpreters: $(readelf --segments --wide \"$program\" | grep -c INTERP)\"
        \"$program\" --version 2>/dev/null || :
    done";

#[test]
#[ignore = "needs initramfs/release to have been run"]
fn packages_for_both_types_of_machines_have_the_same_files() {
    for name in ["wireboot", "wireboot-initramfs"] {
        let [amd64, arm64] = MACHINES.map(|(_, debian_arch, _)| {
            let deb = one(&format!("{name}_*_{debian_arch}.deb"));
            // Modes, owners and names.
            run(&format!(
                "dpkg-deb --contents {} | awk '{{ print $1, $2, $6 }}'",
                deb.display()
            ))
        });
        assert!(amd64.lines().count() > 5, "{amd64}");
        assert_eq!(amd64, arm64);
    }
}

#[test]
#[ignore = "needs initramfs/release to have been run, and man"]
fn the_manual_of_the_package_is_found_by_name() {
    let deb = one("wireboot_*_amd64.deb");
    let deb = deb.display();
    for page in [
        "wireboot",
        "wireboot-lease",
        "wireboot.cmdline",
        "wireboot-troubleshooting",
        "wireboot-recipes",
    ] {
        let said = run(&format!(
            "root=$(mktemp -d); trap 'rm -rf \"$root\"' EXIT
            dpkg -x {deb} \"$root\"
            MANPATH=$root/usr/share/man MANPAGER=cat man {page} 2>&1"
        ));
        assert!(
            said.contains("NAME") && said.contains(page),
            "{page}: {said}"
        );
    }
}

#[test]
#[ignore = "needs initramfs/release to have been run"]
fn hashes_and_bill_of_materials_are_of_what_is_there() {
    let said = run("sha256sum --strict --check SHA256SUMS; ls");
    let listed = said.matches(": OK\n").count();
    let there = said.lines().filter(|line| !line.ends_with(": OK")).count();
    assert_eq!(listed + 1, there, "{said}");
    let bill = std::fs::read_to_string(one("*.cdx.json")).unwrap();
    let bill: serde_json::Value = serde_json::from_str(&bill).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    let names: Vec<_> = bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| component["name"].as_str().unwrap())
        .collect();
    for expected in ["wireboot-proto", "rustls", "dhcproto", "libc"] {
        assert!(names.contains(&expected), "{names:?}");
    }
    let notices = std::fs::read_to_string(one("third-party")).unwrap();
    for (name, version) in bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| (&component["name"], &component["version"]))
    {
        let crate_name = format!("{}-{}: ", name.as_str().unwrap(), version.as_str().unwrap());
        let is_listed =
            notices.contains(&crate_name) || WITHOUT_NOTICE.contains(&name.as_str().unwrap());
        assert!(is_listed, "no notice of {crate_name}");
    }
}

/// Our own crate, and those that run only while the binary is built.
const WITHOUT_NOTICE: &[&str] = &[
    "wireboot-proto",
    "aho-corasick",
    "curve25519-dalek-derive",
    "dhcproto-macros",
    "regex",
    "regex-automata",
    "regex-syntax",
    "serde_derive",
    "thiserror-impl",
];

/// Checks the files of a package that was installed, that its program is for this type of machine, and
/// that no file was left when it was removed.
fn has_all(said: &str, name: &str, arch: &str, number: u16) {
    let (installed, left) = said.split_once("left\n").expect(said);
    let expected: &[&str] = if name == "wireboot" {
        &[
            "usr/sbin/wireboot",
            "usr/share/man/man8/wireboot-lease.8.gz",
            "usr/share/man/man7/wireboot.cmdline.7.gz",
            "usr/share/man/man7/wireboot-troubleshooting.7.gz",
            "usr/share/man/man7/wireboot-recipes.7.gz",
            "usr/share/bash-completion/completions/wireboot",
            "usr/lib/systemd/system/wireboot@.service",
        ]
    } else {
        &[
            "usr/lib/wireboot/wireboot",
            "usr/lib/dracut/modules.d/30network/module-setup.sh",
        ]
    };
    for file in expected.iter().chain(&["third-party"]) {
        assert!(installed.contains(file), "{file}: {installed}");
    }
    let head = installed
        .lines()
        .find_map(|line| line.strip_prefix("head "));
    let head = parse_hex(head.expect(installed)).unwrap();
    // ELF of 64 bits, and the number of the machine.
    assert_eq!(head[..5], *b"\x7fELF\x02");
    assert_eq!(u16::from_le_bytes([head[18], head[19]]), number);
    assert!(installed.contains("interpreters: 0\n"), "{installed}");
    if arch == std::env::consts::ARCH {
        assert!(installed.contains("wireboot 0."), "{installed}");
    }
    assert_eq!(left, "");
}

/// Returns the path of the only file in the release with such a name.
fn one(pattern: &str) -> PathBuf {
    let found = run(&format!("ls -d \"$PWD\"/{pattern}"));
    assert_eq!(found.lines().count(), 1, "{pattern}: {found}");
    PathBuf::from(found.trim())
}

/// Runs commands in the folder of the release and returns what they print.
fn run(commands: &str) -> String {
    let folder = shell("echo \"$work/release\"");
    let mut command = Command::new("bash");
    command.args(["-euc", commands]).current_dir(folder);
    let output = command.output().expect("bash is installed");
    assert!(output.status.success(), "{commands}: {output:?}");
    String::from_utf8(output.stdout).expect("it is text")
}
